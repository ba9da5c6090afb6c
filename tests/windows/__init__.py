"""What runs under Windows, looked at from here: `make test-windows` sets WINDOWS_FOLDER (ci/windows.py)."""
