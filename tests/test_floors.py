"""Holds the house: who may import whom (docs/architecture.md), and what no module may do.

The imports are read from the source, so those inside functions count as well.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "cutaway"

# The floor of every module and package directly under cutaway/. A module may import from the
# floors below its own. cutaway/__init__.py is the public face and stands above them all.
FLOORS = {
    "version": 0,
    "files": 0,
    "array_files": 0,
    "evidence": 0,
    "plotting": 0,
    "model": 0,
    "utils": 1,
    "hook_points": 1,
    "tasks": 1,
    "patching": 1,
    "attribution": 2,
    "heads": 2,
    "lenses": 2,
    "circuits": 2,
    "probing": 2,
    "steering": 2,
    "sae": 2,
    "superposition": 2,
    "training": 2,
    "tokens": 2,
    "audit": 2,
    "views": 3,
    "findings": 3,
    "experiments": 4,
    "cli": 5,
    "dashboard": 5,
    "__main__": 5,
}

# Neighbours on one floor do not import each other, but for these: (importer, imported).
NEIGHBOURS = {
    ("model", "files"),  # a saved model is written whole or not at all
    ("array_files", "files"),  # the same promise, for arrays
    ("patching", "tasks"),  # an intervention needs a task's prompts and metric
    ("circuits", "attribution"),  # discovery starts from attribution scores
    ("lenses", "training"),  # a tuned lens is trained by the same loop
    ("sae", "training"),  # runs of dictionaries are resumed as those of models are
    ("views", "findings"),  # data flows from findings to views: a page shows predictions graded
    ("cli", "dashboard"),  # one command opens it
    ("__main__", "cli"),
}

# Below, and forbidden all the same: (importer, imported).
FORBIDDEN = {
    ("views", "model"),  # views know results, never models
}

# Settings of the whole process. Nobody who calls a library expects it to change them.
GLOBAL_SETTINGS = {
    "logging.basicConfig",
    "matplotlib.use",
    "numpy.random.seed",
    "numpy.set_printoptions",
    "numpy.seterr",
    "os.environ.setdefault",
    "os.environ.update",
    "os.putenv",
    "random.seed",
    "torch.cuda.manual_seed",
    "torch.cuda.manual_seed_all",
    "torch.manual_seed",
    "torch.seed",
    "torch.set_default_device",
    "torch.set_default_dtype",
    "torch.set_float32_matmul_precision",
    "torch.set_num_interop_threads",
    "torch.set_num_threads",
    "torch.set_printoptions",
    "torch.use_deterministic_algorithms",
}
GLOBAL_OBJECTS = ("os.environ", "torch.backends", "matplotlib.rcParams")
SHORT_NAMES = {"np": "numpy", "mpl": "matplotlib", "plt": "matplotlib.pyplot"}

MOST_LINES_OF_A_FUNCTION = 60  # without its docstring


@dataclass(frozen=True)
class Import:
    """One import of a cutaway module by another."""

    importer: str
    imported: str
    line: int
    runs: bool
    """False inside `if TYPE_CHECKING`: it tells of knowledge, but nothing is loaded."""

    def __str__(self) -> str:
        return f"{self.importer} (line {self.line}) imports {self.imported}"


def modules_of(package: Path) -> dict[str, Path]:
    """Dotted name to file; a package's name stands for its __init__.py."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = [package.name, *path.relative_to(package).with_suffix("").parts]
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports_of(package: Path) -> list[Import]:
    """Every import of one of the package's modules by another."""
    modules = modules_of(package)
    found = []
    for name, path in modules.items():
        tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
        for node, runs in walk(tree):
            for target in targets(node, name, path, set(modules)):
                if target.split(".")[0] == package.name:
                    found.append(Import(name, target, node.lineno, runs))
    return found


def walk(node: ast.AST, runs: bool = True) -> Iterator[tuple[ast.AST, bool]]:
    """Every node below, and whether it is outside `if TYPE_CHECKING`."""
    for child in ast.iter_child_nodes(node):
        inside = (
            isinstance(node, ast.If)
            and child in node.body
            and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
        )
        yield child, runs and not inside
        yield from walk(child, runs and not inside)


def targets(node: ast.AST, importer: str, path: Path, modules: set[str]) -> list[str]:
    """The full names of the modules that one statement imports."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        source = node.module or ""
        if node.level:
            here = importer.split(".")
            up = node.level - (path.name == "__init__.py")
            source = ".".join([*here[: len(here) - up], *([source] if source else [])])
        full = [f"{source}.{alias.name}" for alias in node.names]
        return sorted({name if name in modules else source for name in full})
    if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
        return [arg.value for arg in node.args[:1] if isinstance(arg, ast.Constant)]
    return []


def room(module: str) -> str:
    """The module or package directly under cutaway/ that `module` belongs to."""
    return module.split(".")[1]


def faults_of_floors(package: Path) -> list[str]:
    """One sentence for each import that the floors do not allow."""
    faults = []
    for found in imports_of(package):
        if found.importer == package.name:
            continue  # the public face
        if found.imported == package.name:
            faults.append(f"{found}, the public face: import from the module that defines it.")
            continue
        pair = (room(found.importer), room(found.imported))
        if pair[0] == pair[1] or not set(pair) <= set(FLOORS):
            continue  # an unknown module has a test of its own
        upper, lower = FLOORS[pair[0]], FLOORS[pair[1]]
        if upper < lower:
            faults.append(f"{found}: upward, from floor {upper} to floor {lower}.")
        elif upper == lower and pair not in NEIGHBOURS:
            faults.append(f"{found}: a neighbour on floor {upper} that is not in NEIGHBOURS.")
        elif pair in FORBIDDEN:
            faults.append(f"{found}: {pair[0]} must not know {pair[1]}.")
    return faults


def circle_in(package: Path) -> list[str]:
    """The modules of one circle of imports, first and last the same; empty if there is none."""
    sorter: TopologicalSorter[str] = TopologicalSorter()
    for found in imports_of(package):
        if found.runs and found.importer != package.name:
            sorter.add(found.importer, found.imported)
    try:
        sorter.prepare()
    except CycleError as error:
        return list(reversed(error.args[1]))
    return []


def full_name(node: ast.expr) -> str:
    """`np.random.seed` as `numpy.random.seed`."""
    first, _, rest = ast.unparse(node).partition(".")
    return ".".join(filter(None, [SHORT_NAMES.get(first, first), rest]))


def global_settings_in(package: Path) -> list[str]:
    """Each place where a setting of the whole process is changed."""
    faults = []
    for name, path in modules_of(package).items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            changed = []
            if isinstance(node, ast.Call) and full_name(node.func) in GLOBAL_SETTINGS:
                changed = [full_name(node.func)]
            elif isinstance(node, ast.Assign | ast.AugAssign):
                goals = node.targets if isinstance(node, ast.Assign) else [node.target]
                changed = [full_name(goal) for goal in goals]
                changed = [goal for goal in changed if goal.startswith(GLOBAL_OBJECTS)]
            elif isinstance(node, ast.Import | ast.ImportFrom):
                modules = {"matplotlib.pyplot"}
                changed = [t for t in targets(node, name, path, modules) if t in modules]
            faults += [f"{name} (line {node.lineno}): {what}" for what in changed]
    return faults


# ---- the house itself ----


def test_every_room_has_a_floor() -> None:
    rooms = {room(module) for module in modules_of(PACKAGE) if "." in module}
    unknown = sorted(rooms - set(FLOORS))
    assert not unknown, (
        f"{', '.join(unknown)}: new under cutaway/. Give it a floor in FLOORS at the top of "
        "tests/test_floors.py and a line in docs/architecture.md."
    )


def test_nothing_imports_upward_or_sideways() -> None:
    faults = faults_of_floors(PACKAGE)
    assert not faults, "\n".join(faults)


def test_there_are_no_circles() -> None:
    circle = circle_in(PACKAGE)
    assert not circle, "imports in a circle: " + " -> ".join(circle)


def test_no_module_changes_settings_of_the_process() -> None:
    faults = global_settings_in(PACKAGE)
    assert not faults, "\n".join(faults)


def test_importing_every_module_changes_nothing_global() -> None:
    code = f"""
import importlib, random, numpy, torch
def state():
    return {{
        "threads": torch.get_num_threads(),
        "dtype": torch.get_default_dtype(),
        "device": torch.get_default_device(),
        "grad": torch.is_grad_enabled(),
        "precision": torch.get_float32_matmul_precision(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "torch's generator": torch.get_rng_state().numpy().tobytes(),
        "numpy's generator": repr(numpy.random.get_state()),
        "python's generator": random.getstate(),
        "numpy's errors": numpy.geterr(),
    }}
before = state()
for name in {[name for name in modules_of(PACKAGE) if not name.endswith("__main__")]!r}:
    importlib.import_module(name)
after = state()
print(*[key for key in before if before[key] != after[key]], sep=", ", end="")
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""


def test_functions_are_short() -> None:
    faults = []
    for name, path in modules_of(PACKAGE).items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = node.end_lineno - node.lineno + 1
                if ast.get_docstring(node) is not None:
                    lines -= node.body[0].end_lineno - node.body[0].lineno + 1
                if lines > MOST_LINES_OF_A_FUNCTION:
                    faults.append(f"{name}.{node.name} has {lines} lines: name its steps.")
    assert not faults, "\n".join(faults)


# ---- and that the tests above would notice ----


@pytest.fixture
def house(tmp_path: Path):
    """Writes a package named cutaway from {path: source}."""

    def build(sources: dict[str, str]) -> Path:
        package = tmp_path / "cutaway"
        for name, source in {"__init__.py": "", **sources}.items():
            path = package / name
            path.parent.mkdir(parents=True, exist_ok=True)
            (path.parent / "__init__.py").touch()
            path.write_text(source, encoding="utf-8")
        return package

    return build


@pytest.mark.parametrize(
    ("path", "source", "fault"),
    [
        ("model/a.py", "import cutaway.patching.sweep", "upward, from floor 0 to floor 1"),
        ("model/a.py", "from ..views import heatmap", "upward, from floor 0 to floor 3"),
        ("model/__init__.py", "from ..views import heatmap", "upward, from floor 0 to floor 3"),
        ("model/a.py", "from .. import tasks", "upward, from floor 0 to floor 1"),
        ("tasks/a.py", "def f():\n    from cutaway import patching", "a neighbour on floor 1"),
        ("tasks/a.py", "import importlib\nimportlib.import_module('cutaway.cli')", "upward"),
        ("tasks/a.py", "if TYPE_CHECKING:\n    from cutaway.cli import main", "upward"),
        ("views/a.py", "from ..model.config import ModelConfig", "views must not know model"),
        ("cli.py", "from cutaway import HookedTransformer", "the public face"),
        ("cli.py", "import cutaway", "the public face"),
    ],
)
def test_a_forbidden_import_is_found(house, path: str, source: str, fault: str) -> None:
    package = house(
        {
            "model/config.py": "",
            "tasks/ioi.py": "",
            "patching/sweep.py": "",
            "views/__init__.py": "",
            path: source,
        }
    )
    (found,) = faults_of_floors(package)
    assert fault in found


def test_an_allowed_import_is_not_a_fault(house) -> None:
    package = house(
        {
            "__init__.py": "from .cli import main",
            "model/a.py": "from .b import x\nfrom ..files import write_text\nimport torch",
            "model/b.py": "",
            "files.py": "",
            "patching/sweep.py": "from cutaway.tasks.ioi import x\nfrom ..model import a",
            "tasks/ioi.py": "",
            "cli.py": "from cutaway.version import __version__",
            "version.py": "",
        }
    )
    assert faults_of_floors(package) == []
    assert circle_in(package) == []


def test_a_circle_is_found(house) -> None:
    sources = {
        "model/a.py": "from .b import x",
        "model/b.py": "def f():\n    import cutaway.model.c",
        "model/c.py": "from . import a",
    }
    circle = circle_in(house(sources))
    assert circle[0] == circle[-1]
    assert set(circle) == {"cutaway.model.a", "cutaway.model.b", "cutaway.model.c"}


def test_a_circle_of_annotations_is_none(house) -> None:
    sources = {
        "model/a.py": "from .b import x",
        "model/b.py": "if TYPE_CHECKING:\n    from .a import y",
    }
    assert circle_in(house(sources)) == []


@pytest.mark.parametrize(
    "source",
    [
        "torch.set_num_threads(1)",
        "def f():\n    np.random.seed(0)",
        "os.environ['A'] = '1'",
        "torch.backends.cuda.matmul.allow_tf32 = True",
        "import matplotlib.pyplot as plt",
        "from matplotlib import pyplot",
    ],
)
def test_a_global_setting_is_found(house, source: str) -> None:
    assert len(global_settings_in(house({"model/a.py": source}))) == 1
