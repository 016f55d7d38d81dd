"""The house: which module may import what, and files that are generated from the code."""

from __future__ import annotations

import ast
import functools
import graphlib
import os
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy import schemas
from tests.support.examples import worked
from toolchain import runtimes
from toolchain.core import fingerprint, paths, process

SEAMS = {
    "docker": {"toolchain/images/engine.py", "toolchain/images/engine_connection.py"},
    "cryptography": {"toolchain/core/signing.py"},
    "subprocess": {"toolchain/core/process.py"},
    "fabric": {"deploy/ssh/connection.py", "deploy/ssh/login.py", "deploy/ssh/remote_process.py"},
    "paramiko": {
        "deploy/ssh/connection.py",
        "deploy/ssh/destination.py",
        "deploy/ssh/host_certificate.py",
        "deploy/ssh/host_key_policy.py",
        "deploy/ssh/known_hosts.py",
        "deploy/ssh/login.py",
        "deploy/ssh/remote_process.py",
        "deploy/ssh/sftp_transfer.py",
        # the Docker SDK's way to an engine: its errors
        "toolchain/images/engine_connection.py",
    },
}
# files that may spell a runtime's name, beside its own modules, and why
SPELL_A_RUNTIME = {
    "toolchain/bundle/choice.py": "it shortens model.json, which has the word",
    "toolchain/compile/importing/preparation.py": "its version decides what is prepared",
    "toolchain/convert/conversion.py": "the same of what is converted",
    "toolchain/formats/tflite_file.py": "a kind of model file has that name too",
    "toolchain/models/manifest.py": "model.json's own words, from before it had `artifacts`",
    "toolchain/wheels/recipes/onnxruntime.py": "its wheel and its source are called so too",
    "toolchain/convert/executorch/job.py": "the extra and the stage of checks are called so too",
    "toolchain/wheels/recipes/executorch.py": "its wheel and its source are called so too",
    "toolchain/convert/pnnx/job.py": "the extra and the stage of checks are called so too",
    "toolchain/wheels/recipes/ncnn.py": "its wheel and its source are called so too",
    "toolchain/wheels/recipes/opencv.py": "the folder of its sources is called so",
    "toolchain/workstation/durations.py": "their wheels are called so too",
    "toolchain/workstation/extras.py": "an extra is called so too",
}


# What names an instruction set or one of its features. Only `toolchain/targets/` does, and:
OF_INSTRUCTION_SETS = re.compile(
    r"riscv|rv(32|64)|x86|aarch64|arm(v\d|hf|64)|amd64|\barm\b|i[3-6]86|\bEM_[A-Z]|avx|\bneon\b"
    r"|dotprod|\bzvl",
    re.IGNORECASE,
)
NAMES_ONE = {
    # a stage of checks in manifests that are written already
    "toolchain/compile/compilation_job.py": {"tvm-x86", "x86_64"},
    # the target of the tutorial, used where none is named
    "toolchain/commandline/options.py": {"rv64gc"},
    # a program by which its Debian package is known to be installed
    "toolchain/workstation/setup.py": {"qemu-riscv64-static"},
    # the machines for which it was tried
    "toolchain/wheels/recipes/onnxruntime.py": {"armv7l", "riscv64"},
    "toolchain/wheels/recipes/executorch.py": {"aarch64", "x86_64"},
    "toolchain/wheels/recipes/ncnn.py": {
        *("aarch64", "armv7l", "riscv64", "x86_64"),
        # what the compiler is told there
        "-mfpu=neon",
    },
    # the same, and what is left out of the library that reads PNG files
    "toolchain/wheels/recipes/opencv.py": {"riscv64", "-DPNG_RISCV_RVV=off"},
    # the name of another project, its licence's, and the machine that TensorFlow uses it on
    "toolchain/wheels/recipes/tflite_runtime.py": {
        *("neon-2-sse", "LicenseRef-neon-2-sse", "x86_64"),
    },
}
# Which folders of toolchain/ a folder may import: those below it.
BELOW = {
    "core": set(),
    "commandline": {"core"},
    "shared_cache": {"core"},
    "targets": {"core"},
    "lock": {"core", "targets"},
    "images": {"core", "lock", "targets"},
    "workstation": {"core", "images", "lock", "targets"},
    "wheels": {"core", "images", "lock", "targets"},
    "formats": {"core", "workstation"},
    "models": {"core", "formats"},
    "samples": {"core", "formats", "models"},
    "runtimes": {"core", "lock", "models", "wheels", "workstation"},
    "convert": {"core", "formats", "lock", "models", "runtimes", "samples", "workstation"},
    "browser": {"convert", "core", "formats", "models", "workstation"},
    "compile": {
        *("convert", "core", "formats", "images", "lock", "models", "samples", "targets", "wheels"),
    },
    "cluster": {
        *("compile", "convert", "core", "formats", "models", "shared_cache", "targets"),
        *("wheels", "workstation"),
    },
    "tuning": {"compile", "core", "models", "targets"},
    "library": {"core", "lock", "runtimes", "targets", "wheels"},
    "bundle": {"core", "library", "lock", "models", "runtimes", "targets", "wheels"},
    "publication": {"core", "lock", "runtimes", "shared_cache", "targets", "wheels"},
    "results": {"core", "models", "shared_cache"},
    "reference": {"core", "formats", "models"},
    "examples": {"formats", "models"},
    "inspection": {"compile", "convert", "core", "formats", "models", "runtimes"},
    "accuracy": {"core", "formats", "models", "results", "runtimes", "samples", "targets"},
    "report": {"accuracy", "commandline", "core", "models", "results", "runtimes"},
    "tasks": {
        *("accuracy", "browser", "cluster", "commandline", "compile", "core", "examples"),
        *("formats", "images", "inspection", "library", "lock", "models", "publication"),
        *("report", "results", "runtimes", "samples", "shared_cache", "targets", "tuning"),
        *("wheels", "workstation"),
    },
}
# where examples of CONTRIBUTING.md stand when they are ours
HOMES = {"runtimes": "runtimes", "formats": "formats", "recipes": "wheels"}
# The list of what an image installs is data that the lock resolves, and stands beside the images.
UPWARDS = {
    ("toolchain.lock.resolve", "toolchain.images.specification"),
    ("toolchain.lock.resolve", "toolchain.images"),
    ("toolchain.lock.vendor", "toolchain.images.specification"),
    ("toolchain.lock.vendor", "toolchain.images"),
}
# programs that run on a device: they have no seams of ours, and none of our modules
ON_DEVICE = ("deploy/agent/", "deploy/runner/")


@functools.cache
def modules() -> tuple[tuple[str, set[str]], ...]:
    """Each module of the product and the top names that it imports."""
    return tuple(_modules())


def _modules() -> Iterator[tuple[str, set[str]]]:
    for folder in ("toolchain", "deploy"):
        for path in sorted((paths.ROOT / folder).rglob("*.py")):
            name = path.relative_to(paths.ROOT).as_posix()
            found: set[str] = set()
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Import):
                    found |= {alias.name.split(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom):
                    assert node.level == 0, f"{name} imports relatively"
                    found.add((node.module or "").split(".")[0])
            yield name, found


def imported(source: str) -> set[str]:
    """The modules, and what is in them, that a module's text imports, but for types alone."""
    statements = fingerprint._statements(ast.parse(source))
    return {one for statement in statements for one in fingerprint._imported(statement)}


def arrows() -> dict[str, set[str]]:
    """The modules of the toolchain that each of them imports, but for types alone."""
    names = {
        ".".join(path.relative_to(paths.ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in (paths.ROOT / "toolchain").rglob("*.py")
    }
    found = {}
    for name, path in names.items():
        given = imported(path.read_text())
        packages = {one for one in given if path.name != "__init__.py" or one != name}
        found[name] = packages & names.keys() - {name}
    return found


def folder_of(module: str) -> str:
    """The folder of `toolchain/` that a module is in; empty for what stands in none."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and (paths.ROOT / "toolchain" / parts[1]).is_dir() else ""


def test_no_folder_imports_one_that_stands_above_it() -> None:
    found = {
        (module, other)
        for module, others in arrows().items()
        for other in others
        if (one := folder_of(module)) and (below := folder_of(other)) and one != below
        if below not in BELOW[one]
    }
    assert found == UPWARDS, "what is needed for types alone is imported under TYPE_CHECKING"


def test_the_folders_stand_in_one_order() -> None:
    order = graphlib.TopologicalSorter(BELOW).static_order()
    assert {*order} == {
        p.name for p in (paths.ROOT / "toolchain").iterdir() if (p / "__init__.py").is_file()
    }


def test_no_modules_import_each_other_in_a_circle() -> None:
    inside = {
        module: {other for other in others if not module.startswith(f"{other}.")}
        for module, others in arrows().items()
    }
    graphlib.TopologicalSorter(inside).prepare()


def test_the_toolchain_never_imports_deploy() -> None:
    assert [n for n, found in modules() if n.startswith("toolchain/") and "deploy" in found] == []


@pytest.mark.parametrize("library", SEAMS)
def test_what_leaves_the_process_passes_its_seam(library: str) -> None:
    users = {n for n, found in modules() if library in found and not n.startswith(ON_DEVICE)}
    assert users == SEAMS[library] & users
    assert users


def test_only_a_runtimes_own_modules_spell_its_name() -> None:
    names = runtimes.names()
    homes = ("toolchain/runtimes", "deploy/runner/edgewright_runner/backends")
    own = {f"{home}/{name}.py" for home in homes for name in names}
    found = {
        path.relative_to(paths.ROOT).as_posix()
        for top in ("toolchain", "deploy", "tasks.py")
        for path in ([paths.ROOT / top] if "." in top else (paths.ROOT / top).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and node.value in names
    }
    assert found - own == SPELL_A_RUNTIME.keys(), "a new runtime needs a name that nothing else has"


def texts(source: str) -> Iterator[str]:
    """The texts in a module's code: all but docstrings."""
    nodes = list(ast.walk(ast.parse(source)))
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {
        id(node.body[0].value)
        for node in nodes
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in nodes:
        text = node.value if isinstance(node, ast.Constant) else None
        if isinstance(text, str) and id(node) not in docstrings:
            yield text


def test_what_a_cpu_is_stands_in_the_module_of_its_instruction_set() -> None:
    found: dict[str, set[str]] = {}
    for folder in ("toolchain", "deploy"):
        for path in (paths.ROOT / folder).rglob("*.py"):
            name = path.relative_to(paths.ROOT).as_posix()
            # the runner is alone on its device, and says what it sees there
            if name.startswith(("toolchain/targets/", "deploy/runner/")):
                continue
            if named := names_of_cpus(path.read_text()):
                found[name] = named
    assert found == NAMES_ONE, "ask the target, or what the lock has for it"


def names_of_cpus(source: str) -> set[str]:
    """The texts in a module's code that name an instruction set."""
    return {text for text in texts(source) if OF_INSTRUCTION_SETS.search(text)}


@pytest.mark.parametrize("example", [name for name in worked() if name.split("/")[0] in HOMES])
def test_a_worked_example_may_stand_in_the_tree_as_it_is(example: str) -> None:
    source, home = worked()[example], HOMES[example.split("/", maxsplit=1)[0]]
    others = {folder for module in imported(source) if (folder := folder_of(module))} - {home}
    assert others <= BELOW[home]
    assert names_of_cpus(source) == set()


def test_every_value_of_an_onnx_graph_comes_from_the_one_session_that_gets_it_right() -> None:
    """Here; on a device it is a runtime like any other."""
    every = [p for f in ("toolchain", "deploy", "tests") for p in (paths.ROOT / f).rglob("*.py")]
    call = "InferenceSession" + "("
    named = {p.relative_to(paths.ROOT).as_posix() for p in every if call in p.read_text()}
    users = {name for name in named if not name.startswith(ON_DEVICE)}
    assert users == {"toolchain/formats/onnx_reference.py"}


def test_no_module_is_longer_than_can_be_read_in_one_sitting() -> None:
    every = [p for f in ("toolchain", "deploy", "tests") for p in (paths.ROOT / f).rglob("*.py")]
    long = {str(p): len(p.read_text().splitlines()) for p in every}
    assert {n: lines for n, lines in long.items() if lines > 400} == {}


# What keeps the user's rights, and why stands in docs/explanation/security.md: TVM's client in a
# search, a metric, which may be a program of the user's, and the making of an image's root.
UNCONFINED = {
    "toolchain/tuning/run.py",
    "toolchain/accuracy/metric_evaluation.py",
    "toolchain/images/build.py",
}


def test_every_job_that_reads_what_others_made_is_given_its_rights() -> None:
    every = [p for f in ("toolchain", "deploy") for p in (paths.ROOT / f).rglob("*.py")]
    without = {
        path.relative_to(paths.ROOT).as_posix()
        for path in every
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) == "worker.call"
        and "rights" not in {keyword.arg for keyword in node.keywords}
    }
    assert without == UNCONFINED


# Folders whose modules are all of one kind, one a thing.
OF_ONE_KIND = ("toolchain/compile/operators", "toolchain/convert/networks")


def test_no_folder_holds_more_than_a_dozen_modules() -> None:
    every = [p for f in ("toolchain", "deploy") for p in (paths.ROOT / f).rglob("[!_]*.py")]
    folders = Counter(p.parent.relative_to(paths.ROOT).as_posix() for p in every)
    full = {name: many for name, many in folders.items() if many > 12 and name not in OF_ONE_KIND}
    assert full == {}


def test_tests_share_through_their_support_alone() -> None:
    """What one test module needs of another stands in tests/support/, where all look for it."""
    sharing = {
        f"{path.relative_to(paths.ROOT)} imports {node.module}"
        for path in (paths.ROOT / "tests").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module
        if re.match(r"tests\.(?!support)", node.module)
    }
    assert sharing == set()


def functions() -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Each function of the product, by its module and name."""
    product = [paths.ROOT / "tasks.py"]
    product += [p for f in ("toolchain", "deploy") for p in (paths.ROOT / f).rglob("*.py")]
    for path in product:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{path.relative_to(paths.ROOT).as_posix()}: {node.name}", node


def test_no_function_is_longer_than_a_screen() -> None:
    lengths = {name: (f.end_lineno or 0) - f.lineno + 1 for name, f in functions()}
    assert {name: lines for name, lines in lengths.items() if lines > 60} == {}


def test_no_function_is_told_apart_by_more_than_six_places() -> None:
    """From the seventh argument on a call says each by its name."""
    places = {
        name: [a.arg for a in (*f.args.posonlyargs, *f.args.args) if a.arg not in ("self", "cls")]
        for name, f in functions()
    }
    assert {name: named for name, named in places.items() if len(named) > 6} == {}


def test_docker_stays_the_sdk() -> None:
    assert not (paths.ROOT / "docker" / "__init__.py").exists()


def test_the_schemas_are_the_codes() -> None:
    shipped = {p.name: p.read_text() for p in schemas.FOLDER.iterdir()}
    assert shipped == schemas.all_schemas(), "run: invoke schemas"


def test_listing_the_tasks_imports_nothing_heavy() -> None:
    heavy = ("tensorflow", "tvm", "onnx", "numpy", "docker", "paramiko", "pydantic", "sklearn")
    script = f"import sys, tasks; print([m for m in {heavy!r} if m in sys.modules])"
    text = process.run([sys.executable, "-c", script], cwd=paths.ROOT, env=dict(os.environ))
    found = text.strip().splitlines()[-1]
    assert found == "[]", "import it in the function that uses it"


def test_a_matrix_that_is_built_is_looked_up_without_anything_heavy() -> None:
    heavy = ("tensorflow", "tvm", "onnx", "numpy", "docker", "paramiko", "requests", "auditwheel")
    used = "toolchain.matrix, toolchain.compile.cross_link, toolchain.compile.source_compiler"
    script = f"import sys, {used}; print([m for m in {heavy!r} if m in sys.modules])"
    text = process.run([sys.executable, "-c", script], cwd=paths.ROOT, env=dict(os.environ))
    assert text.strip().splitlines()[-1] == "[]"


def test_no_file_names_a_path_of_a_machine() -> None:
    tracked = process.run(["git", "ls-files"], cwd=paths.ROOT).split()
    home = str(Path.home()) + "/"
    texts = {
        n: (paths.ROOT / n).read_text(errors="ignore")
        for n in tracked
        if (paths.ROOT / n).is_file()
    }
    assert [n for n, text in texts.items() if n != "inventory.yml" and home in text] == []
