"""The bad manifests: for each a name that says what is wrong, and what lies beside a good one in the folder.

A value is the bytes of `manifests/<path>`, or a function that puts something else there. Names are grouped; each group
has a golden file with everything that is said about it.
"""

import os
from collections.abc import Callable
from pathlib import Path

Put = bytes | Callable[[Path], object]
Case = dict[str, Put]

HEAD = "apiVersion: reconciler.foundry/v1alpha1\nkind: "
GOOD = f"{HEAD}Model\nmetadata: {{name: good}}\nspec:\n  source: {{path: ../models/phi}}\n  precisions: [int4]\n"

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:5\nsize 5\n"


def bad(text: str) -> Case:
    return {"bad.yaml": text.encode()}


def model(
    *spec: str, name: str = "phi", metadata: str = "", source: str = "{path: ../models/phi}", precisions: str = "[int4]"
) -> Case:
    fields = "".join(f"  {field}\n" for field in (f"source: {source}", f"precisions: {precisions}", *spec))
    return bad(f"{HEAD}Model\nmetadata: {{name: {name}{metadata}}}\nspec:\n{fields}")


def template(data: str | bytes) -> Case:
    case = model("promptTemplate: {jinja: templates/t.jinja}")
    return case | {"templates/t.jinja": data if isinstance(data, bytes) else data.encode()}


def labels(value: str) -> Case:
    return model(metadata=f", labels: {value}")


MERGE_BOMB = "a0: &a0 {x: 1}\n" + "".join(
    f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}]}}\n" for i in range(1, 18)
)
ALIAS_BOMB = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 10))

YAML: dict[str, Case] = {
    "merge bomb": bad(MERGE_BOMB),
    "alias bomb": bad(ALIAS_BOMB),
    "recursive alias": bad("a: &a [*a]\n"),
    "100,000 nested brackets": bad("a: " + "[" * 100_000),
    "100,000 nested braces": bad("{" * 100_000),
    "100,000 nested flow maps": bad("{a: " * 60_000),
    "100,000 nested sequences": bad("- " * 100_000),
    "100,000 nested complex keys": bad("? " * 100_000),
    "1,000 nested maps": bad("".join(" " * i + "a:\n" for i in range(700))),
    "1,000 nested maps in a label": labels("{a: " * 1000 + "}" * 1000),
    "duplicate key": bad(GOOD.replace("spec:", "spec: {}\nspec:").replace("good", "phi")),
    "python object": bad(GOOD.replace("good", "!!python/object/apply:os.system [id]")),
    "local tag": bad(GOOD.replace("good", "!env HOME")),
    "binary tag": bad(GOOD.replace("good", "!!binary aGk=")),
    "YAML 1.1 directive": bad("%YAML 1.1\n---\n" + GOOD.replace("good", "phi")),
    "TAG directive": bad("%TAG !e! tag:example.com,2000:\n---\n" + GOOD.replace("good", "phi")),
    "unknown directive": bad("%FOO bar\n---\n" + GOOD.replace("good", "phi")),
    "complex key": bad("? [a, b]\n: c\n"),
    "merge key": bad(GOOD.replace("good", "phi, <<: {labels: {}}")),
    "UTF-16": {"bad.yaml": GOOD.encode("utf-16")},
    "kept by Git LFS": bad(POINTER),
    "UTF-32": {"bad.yaml": GOOD.encode("utf-32")},
    "Latin-1": {"bad.yaml": GOOD.replace("good", "caf\xe9").encode("latin-1")},
    "overlong UTF-8": {"bad.yaml": b"a: \xc0\xaf\n"},
    "raw control characters": bad("a: \x1b[2J\x07\n"),
    "escaped control characters": labels(r'{a: "\x1b[2J", b: "\a", c: "\0"}'),
    "raw direction marks": bad("# \u202etxet\na: \u2066b\n"),
    "escaped direction marks": labels(r'{a: "\u202Etxet"}'),
    "invisible tag letters": labels('{a: "hi\U000e0041\U000e0042"}'),
    "byte order mark in the middle": bad("a: 1\n\ufeff---\nb: 2\n"),
    "line separator": bad("a: 1\u2028b: 2\n"),
    "100 MB file": {"bad.yaml": lambda path: os.truncate(path, 100_000_000)},
    "20 MB scalar": bad("a: " + "x" * 20_000_000),
    "250 KB scalar": bad("a: " + "x" * 250_000),
    "20,000 documents": bad("---\na: 1\n" * 20_000),
    "200,000 keys": bad("".join(f"k{i}: 1\n" for i in range(20_000))),
    "200,000 items": bad("- a\n" * 50_000),
    "5,000 unknown fields": bad(GOOD.replace("good", "phi") + "".join(f"  k{i}: 1\n" for i in range(4900))),
    "130,000 commas": bad("[" + "," * 130_000),
    "a tab as indentation": bad("a:\n\tb: 1\n"),
    "unclosed quote": bad('a: "b\n' * 3),
    "two documents, the first broken": bad("a: *b\n---\n" + GOOD.replace("good", "phi")),
    "two documents, the second broken": bad(GOOD.replace("good", "phi") + "---\na: ]\n"),
}

VALUES: dict[str, Case] = {
    "unknown field": model("fences: []"),
    "an empty list of gates": model("gates: []"),
    "unknown field with a near name": model("quantisation: {}"),
    "wrong case": model("Generation: {}"),
    "snake case": model("prompt_template: chatml"),
    "wrong type": model("quantization: [32]"),
    "wrong type of a list": model(precisions="int4"),
    "unknown kind": bad(GOOD.replace("kind: Model", "kind: Deployment").replace("good", "phi")),
    "unknown version": bad(GOOD.replace("v1alpha1", "v2").replace("good", "phi")),
    "everything at once": model(
        "generation: {topK: hello, topP: 2}",
        "promptTemplate: {ref: support}",
        "quantization: {blockSize: 64, symmetric: yes}",
        source="{path: ../models/none, adapter: ../../outside}",
        precisions="[fp32, fp32]",
        metadata=", annotations: {reconciler.foundry/prun: disabled}",
    ),
    "a wrong precision beside a repeated one": model(
        "promptTemplate: {ref: support}", source="{path: ../models/none}", precisions="[int4, int4, int3]"
    ),
    "null required": model(source=""),
    "null name": model(name="~"),
    "null list": model(precisions="~"),
    "no name": bad(GOOD.replace("{name: good}", "{}")),
    "no spec": bad(f"{HEAD}Model\nmetadata: {{name: phi}}\n"),
    "not a mapping": bad("hello\n"),
    "a list": bad("- a\n- b\n"),
    "block size": model("quantization: {blockSize: 17}"),
    "block size in quotes": model('quantization: {blockSize: "32"}'),
    "block size with an underscore": model("quantization: {blockSize: 1_28}"),
    "block size in octal": model("quantization: {blockSize: 0o40}"),
    "yes for true": model("quantization: {symmetric: yes}"),
    "infinity": model("generation: {temperature: .inf}"),
    "not a number": model("generation: {topP: .nan}"),
    "a huge number": model(f"generation: {{maxLength: {'9' * 4000}}}"),
    "an exponent out of range": model("generation: {temperature: 1e999}"),
    "a time": model("generation: {topK: 12:30}"),
    "a leading zero": model("generation: {topK: 014}"),
    "doSample": model("generation: {doSample: false}"),
    "a precision with a wrong number": model(precisions="[int3, int9, fp15]"),
    "a precision without its type": model(precisions="[4, 8, 16, 3]"),
    "precision twice": model(precisions="[int4, int8, int4]"),
    "bf16": model(precisions="[bf16]"),
    "fp16": model(precisions="[fp16]"),
    "an option that nothing uses": model("quantization: {blockSize: 64, algorithm: rtn}", precisions="[fp32, int8]"),
    "an option that the algorithm ignores": model("quantization: {symmetric: true, algorithm: k_quant}"),
    "a provider that nothing is converted for": model("target: {device: npu, executionProvider: QNNExecutionProvider}"),
    "a provider of another device": model("target: {device: cpu, executionProvider: CUDAExecutionProvider}"),
    "a GPU without its provider": model("target: {device: gpu}"),
    "a precision that is not made for the provider": model(
        "target: {executionProvider: DmlExecutionProvider}", precisions="[int4, bf16]"
    ),
    "an option that the provider ignores": model(
        "target: {executionProvider: NvTensorRTRTXExecutionProvider}", "quantization: {algorithm: k_quant}"
    ),
    "a source that is not supported": model(source="{huggingface: {repo: microsoft/phi-4, revision: main}}"),
    "unknown preset": model("promptTemplate: ChatML"),
    "two forms of a template": model("promptTemplate: {ref: a, jinja: b}"),
    "unknown reference": model("promptTemplate: {ref: support}"),
    "own annotation misspelt": model(metadata=", annotations: {reconciler.foundry/prun: disabled}"),
    "own annotation with a wrong value": model(metadata=", annotations: {reconciler.foundry/prune: false}"),
    "a value that talks to GitHub and the terminal": model(
        'suspend: "::stop-commands::x @everyone <!-- ` ``` | ![x](http://x)"'
    ),
}

NAMES: dict[str, Case] = {
    name: model(name=name)
    for name in [
        *("../../etc", "/x", "..", '""', "a/b", r"'a\b'", "'a:b'", "con", "nul", "com1", "a.", "-rf", "$(id)"),
        *("a" * 41, "Phi", "phi_4", "4phi", "phi-", "ph\xef", "'phi 4'", r'"phi\n"', "phi-4-generic-cpu"),
    ]
} | {
    "the same name twice": bad(GOOD.replace("good", "phi")) | {"worse.yaml": GOOD.replace("good", "phi").encode()},
    "the same name twice in one file": bad("---\n".join([GOOD.replace("good", "phi")] * 3)),
    "the name of a variant": bad(GOOD.replace("good", "good-int4")),
}


def linked(target: str) -> Callable[[Path], object]:
    return made(lambda path: path.symlink_to(target))


def made(make: Callable[[Path], object]) -> Callable[[Path], object]:
    """Something else in the place of a plain file."""

    def put(path: Path) -> None:
        path.unlink()
        make(path)

    return put


PATHS: dict[str, Case] = {
    "source above the repository": model(source="{path: ../../outside}"),
    "source far above": model(source="{path: ../../../../../../../../../../etc}"),
    "absolute source": model(source="{path: /etc}"),
    "source through a link": model(source="{path: ../models/out}"),
    "missing source": model(source="{path: ../models/none}"),
    "source is a file": model(source="{path: bad.yaml}"),
    "backslashes": model(source=r"{path: ..\models\phi}"),
    "a drive": model(source="{path: 'C:/models'}"),
    "an address": model(source="{path: 'https://example.com/phi'}"),
    "home": model(source="{path: ~/models}"),
    "the id of a hub": model(source="{path: Qwen/Qwen2-0.5B}"),
    "empty path": model(source='{path: ""}'),
    "adapter outside": model(source="{path: ../models/phi, adapter: ../../outside}"),
    "template outside": model("promptTemplate: {jinja: ../../outside/t.jinja}"),
    "template missing": model("promptTemplate: {jinja: templates/none.jinja}"),
    "template through a link": model("promptTemplate: {jinja: templates/l.jinja}")
    | {"templates/l.jinja": linked("../../../outside/t.jinja")},
    "template is a FIFO": model("promptTemplate: {jinja: templates/f.jinja}") | {"templates/f.jinja": made(os.mkfifo)},
    "template is a device": model("promptTemplate: {jinja: ../../../../../../dev/zero}"),
    "symlinked manifest": {"bad.yaml": linked("../../outside/secret.yaml")},
    "dangling link": {"bad.yaml": linked("nowhere")},
    "link to itself": {"bad.yaml": linked("bad.yaml")},
    "symlinked folder": {"bad": linked("/etc")},
    "gitlink": {"module/.git": b"gitdir: ../../.git/modules/module\n", "module/a.yaml": GOOD.encode()},
    "FIFO": {"bad.yaml": made(os.mkfifo)},
    "device": {"bad.yaml": linked("/dev/zero")},
    "hard link to a host file": {"bad.yaml": made(lambda path: path.hardlink_to("../outside/secret.yaml"))},
    "sparse 1 TiB file": {"bad.yaml": lambda path: os.truncate(path, 1 << 40)},
    "a file name with a line end": {"a\nb.yaml": b""},
}

LOOP = "{%- for m in messages -%}{{ m.content }}{%- endfor -%}"

TEMPLATES: dict[str, Case] = {
    "class": template(LOOP + "{{ ''.__class__ }}"),
    "globals": template(LOOP + "{{ lipsum.__globals__ }}"),
    "class by key": template(LOOP + "{{ ''['__class__'] }}"),
    "attr filter": template(LOOP + "{{ '' | attr('__class__') }}"),
    "nested range loops": template(
        LOOP + "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}"
    ),
    "9**9**9": template(LOOP + "{{ 9**9**9 }}"),
    "a long product": template(LOOP + "{{ 'a' * 9999 * 9999 * 9999 }}"),
    "300 nested ifs": template("{% if messages %}" * 300 + "{% endif %}" * 300),
    "30,000 nested parentheses": template("{{" + "(" * 30_000),
    "include": template(LOOP + "{% include '/etc/passwd' %}"),
    "import": template(LOOP + "{% import 'x' as x %}"),
    "extends": template("{% extends 'x' %}" + LOOP),
    "65 KiB": template(LOOP + "x" * 65 * 1024),
    "missing messages": template("hello"),
    "syntax error": template("line one\n{% for m in messages %}{{ m. }}{% endfor %}"),
    "a filter that the runtime does not know": template(LOOP + "\n{{ messages[0].content | upper }}"),
    "a filter that nobody knows": template(LOOP + "{{ messages | nosuchfilter }}"),
    "a test that the runtime does not know": template(LOOP + "{{ messages is false }}"),
    "a function that the runtime does not know": template(LOOP + "{{ now('x') }}{{ lipsum() }}"),
    "a tag that the runtime does not know": template(
        "{% raw %}{% endraw %}{% with x = 1 %}{{ messages }}{% endwith %}"
    ),
    "a filter that may never be reached": template(LOOP + "{% if tools %}{{- tools | upper }}{% endif %}"),
    "not closed": template("{% for m in messages %}"),
    "byte order mark": template("\ufeff" + LOOP),
    "CRLF": template(LOOP + "\r\n"),
    "null byte": template(LOOP + "\0"),
    "UTF-16": template(LOOP.encode("utf-16")),
    "kept by Git LFS": template(POINTER),
    "white space that only Hugging Face trims": template("{% for m in messages %}\n{{ m.content }}\n{% endfor %}\n"),
    "a role pattern without its place": model("promptTemplate: {roles: {prompt: hello}}"),
    "a role pattern in lower case": model('promptTemplate: {roles: {prompt: "{content}"}}'),
    "both forms in a PromptTemplate": bad(
        f"{HEAD}PromptTemplate\nmetadata: {{name: t}}\nspec: {{jinja: t.jinja, roles: {{prompt: '{{Content}}'}}}}\n"
    ),
    "roles without prompt": model('promptTemplate: {roles: {user: "{Content}"}}'),
}


def policy(*spec: str, head: str = "Policy\nmetadata: {name: house}") -> Case:
    return bad(f"{HEAD}{head}\nspec:\n" + "".join(f"  {field}\n" for field in spec))


POLICIES: dict[str, Case] = {
    "a licence that is on no list": policy("licenses: {allow: [Apache2.0]}"),
    "a licence of the hub without LicenseRef": policy("licenses: {deny: [llama3.2]}"),
    "an expression in the place of a licence": policy("licenses: {allow: [MIT OR ISC]}"),
    "a licence of 120 brackets": policy(f"licenses: {{allow: ['{'(' * 120}']}}"),
    "allow and deny": policy("licenses: {allow: [MIT], deny: [ISC]}"),
    "neither allow nor deny": policy("licenses: {unknown: warn}"),
    "nothing allowed": policy("precisions: []"),
    "an unknown gate": policy("gates: [speed]"),
    "a source with a scheme": policy("sources: ['https://huggingface.co/acme/*']"),
    "a size without a unit": policy("maxSourceSize: 20"),
    "signatures of nothing": policy("signatures: {sources: false}"),
    "a selector that no label fits": policy("selector: {matchLabels: {tier: a b}}", "sources: [path]"),
    "a rule that is misspelt": policy("licences: {allow: [MIT]}"),
    "an exception from a policy": policy("policy: house", head="PolicyException\nmetadata: {name: mine}"),
}

GROUPS = {"yaml": YAML, "policies": POLICIES, "values": VALUES, "names": NAMES, "paths": PATHS, "templates": TEMPLATES}
