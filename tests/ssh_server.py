"""A real ssh server on loopback that runs `git-upload-pack` and nothing else: asyncssh, because a fresh machine has the
ssh client but rarely its server."""

import asyncio
import contextlib
import re
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import asyncssh

COMMAND = re.compile(r"git-upload-pack '([^']+)'")


class SshServer:
    """Serves the bare repositories below `repositories` to one key. `folder` gets that key and the known hosts.

    `commands` is every command that a client asked for.
    """

    def __init__(self, repositories: Path, folder: Path) -> None:
        self.repositories = repositories
        self.commands: list[str] = []
        self.key, self.known_hosts = folder / "id_ed25519", folder / "known_hosts"
        self._host_key = asyncssh.generate_private_key("ssh-ed25519")
        client = asyncssh.generate_private_key("ssh-ed25519")
        client.write_private_key(str(self.key))
        self.key.chmod(0o600)
        self._authorized = asyncssh.import_authorized_keys(client.export_public_key().decode())
        self._loop = asyncio.new_event_loop()
        self._connections: list[asyncssh.SSHServerConnection] = []
        self._port = 0

    @property
    def url(self) -> str:
        return f"ssh://git@127.0.0.1:{self._port}"

    @contextlib.contextmanager
    def running(self) -> Iterator["SshServer"]:
        """May be entered again, on the same port: a server that was down and is back."""
        acceptor = self._loop.run_until_complete(self._listen())
        self._port = acceptor.get_port()
        host = f"[127.0.0.1]:{self._port} {self._host_key.export_public_key().decode().strip()}\n"
        self.known_hosts.write_text(host)
        thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            asyncio.run_coroutine_threadsafe(self._close(acceptor), self._loop).result(60)
            self._loop.call_soon_threadsafe(self._loop.stop)
            thread.join()

    def close(self) -> None:
        self._loop.close()

    async def _listen(self) -> asyncssh.SSHAcceptor:
        return await asyncssh.listen(
            "127.0.0.1",
            self._port,
            server_host_keys=[self._host_key],
            authorized_client_keys=self._authorized,
            server_factory=lambda: _Connected(self._connections),
            process_factory=self._serve,
            encoding=None,
            allow_scp=False,
        )

    async def _serve(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        self.commands.append(process.command or "")
        asked = COMMAND.fullmatch(process.command or "")
        if asked is None:
            process.exit(128)
            return
        repository = self.repositories / asked[1].lstrip("/")
        with subprocess.Popen(
            ["git", "upload-pack", str(repository)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as git:
            await process.redirect(stdin=git.stdin, stdout=git.stdout)
            code = await asyncio.get_running_loop().run_in_executor(None, git.wait)
            await process.stdout.drain()
            process.exit(code)
        await process.wait_closed()

    async def _close(self, acceptor: asyncssh.SSHAcceptor) -> None:
        acceptor.close()
        await acceptor.wait_closed()
        await asyncio.sleep(0)  # what was accepted just now gets a transport, which closes its socket
        for connection in self._connections:
            connection.abort()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await asyncio.sleep(0)  # a transport closes its socket in the next round of the loop
        self._connections.clear()


class _Connected(asyncssh.SSHServer):
    """Tells of each connection, also of one that is still being made when the server goes."""

    def __init__(self, connections: list[asyncssh.SSHServerConnection]) -> None:
        self._connections = connections

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connections.append(conn)
