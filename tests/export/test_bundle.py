"""A bundle is one file of our modules' source that needs none of them."""

import ast
import subprocess
import sys
import textwrap

import pytest

from vapray.export import bundle as bundling
from vapray.export.bundle import bundle
from vapray.export.definitions import read_module
from vapray.export.renaming import renamed

ROOTS = [
    ("vapray.export.pipeline", "VapDiffusionPipeline"),
    ("vapray.export.denoiser", "VapDenoiser"),
    ("vapray.export.tiny_vae", "VapTinyVae"),
    ("vapray.export.caption_bank", "CaptionBank"),
    ("vapray.export.text_encoders", "VapHashingText"),
    ("vapray.export.text_encoders", "VapTowerText"),
]
NEEDED = {"torch", "numpy", "diffusers", "safetensors", "PIL", "__future__", *sys.stdlib_module_names}
LATER = {"transformers", "open_clip", "huggingface_hub", "pyarrow"}
"""Imported within functions, by who asks for what needs them."""


def imported(nodes) -> set[str]:
    found = [node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]
    assert not any(getattr(node, "level", 0) for node in found)
    modules = [node.module or "" if isinstance(node, ast.ImportFrom) else node.names[0].name for node in found]
    return {module.split(".")[0] for module in modules}


@pytest.mark.parametrize(("module", "name"), ROOTS)
def test_a_bundle_imports_nothing_of_ours_and_little_of_others(module, name):
    tree = ast.parse(bundle(module, name))
    assert imported(tree.body) <= NEEDED
    assert imported(ast.walk(tree)) <= NEEDED | LATER
    assert name in {node.name for node in tree.body if isinstance(node, ast.ClassDef)}


@pytest.mark.parametrize(("module", "name"), ROOTS)
def test_no_name_of_a_bundle_is_defined_twice(module, name):
    tree = ast.parse(bundle(module, name))
    defined = [node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    defined += [
        alias.asname or alias.name for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names
    ]
    assert len(defined) == len(set(defined))


def test_a_bundle_is_our_source_word_for_word():
    text = bundle("vapray.export.denoiser", "VapDenoiser")
    for module in ("vapray.models.uvit", "vapray.models.prototypes", "vapray.models.attention"):
        for statement in read_module(module).statements:
            if ast.get_docstring(statement.node) if isinstance(statement.node, ast.ClassDef) else None:
                assert statement.text in text or statement.defines[0] not in text


def test_what_nothing_needs_stays_at_home():
    text = bundle("vapray.export.pipeline", "VapDiffusionPipeline")
    assert "def solver_plan(" in text and "def draw_sampling_noise(" in text
    assert "def draw_training(" not in text and "class LatentStatistics" not in text


ONE = """
    import math
    from functools import partial as half
    from toy.two import LIMIT as MOST, Shape, measured

    LIMIT = 1

    def _check(value, LIMIT=LIMIT):
        '''Names its own parameter like a constant.'''
        def inner(MOST):
            return MOST
        return value <= LIMIT, MOST, inner(0), [math.floor(x) for x in (1.5,)]

    class Circle(Shape):
        unit = 3
        def grow(self):
            from toy.three import unit
            return unit(self.unit), _check(1), measured(2), half(int, 7)(), Shape.unit
"""
TWO = """
    from functools import partial
    from toy.three import unit
    LIMIT = 5
    LIMIT += 5
    '''Another one.'''
    try:
        from fractions import missing as half
    except ImportError:
        half = 0.5

    def _check(value):
        return value < LIMIT

    def measured(value):
        return _check(value), half, partial(int, 8)()

    class Shape:
        unit = unit(1)
"""
THREE = """
    def unit(value):
        return value + 100

    def unneeded():
        return undefined_anywhere
"""


WHOLE = """
    import toy.three

    def use():
        return toy.three.unit(1)
"""
ACTING = """
    KNOWN = {}
    KNOWN["two"] = 2

    def use():
        return KNOWN
"""


@pytest.fixture
def toy(tmp_path, monkeypatch):
    sources = {"__init__": "", "one": ONE, "two": TWO, "three": THREE, "whole": WHOLE, "acting": ACTING}
    for name, source in sources.items():
        path = tmp_path / "toy" / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(textwrap.dedent(source))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(bundling, "PACKAGE", "toy")
    yield tmp_path
    for name in [name for name in sys.modules if name.split(".")[0] == "toy"]:
        del sys.modules[name]
    bundle.cache_clear()
    read_module.cache_clear()


def test_names_that_modules_share_mean_in_one_file_what_they_meant_apart(toy):
    text = bundle("toy.one", "Circle")
    assert "unneeded" not in text and "toy" not in imported(ast.walk(ast.parse(text)))
    apart = "from toy.one import Circle; print(Circle().grow())"
    (toy / "bundled.py").write_text(text + "\nprint(Circle().grow())\n")
    runs = [[sys.executable, "-c", apart], [sys.executable, "-I", "bundled.py"]]
    wanted, got = (subprocess.run(run, cwd=toy, capture_output=True, text=True, timeout=60) for run in runs)
    assert wanted.stdout == "(103, (True, 10, 0, [1]), (True, 0.5, 8), 7, 101)\n", wanted.stderr
    assert got.stdout == wanted.stdout, got.stderr


@pytest.mark.parametrize(
    ("module", "said"),
    [
        ("whole", r"toy\.whole: import names from toy\.three, not the module"),
        ("acting", r"toy\.acting: line 3 acts on import"),
    ],
)
@pytest.mark.usefixtures("toy")
def test_what_one_file_cannot_hold_is_refused(module, said):
    with pytest.raises(ValueError, match=said):
        bundle(f"toy.{module}", "use")


def test_renaming_spares_what_is_bound_inside():
    text = "def f(a, b=a):\n    c = a + d\n    return lambda d: (a, d)\n"
    assert renamed(text, {"a": "A", "d": "D", "f": "F"}, "toy") == (
        "def F(a, b=A):\n    c = a + D\n    return lambda d: (a, d)"
    )
