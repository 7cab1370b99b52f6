"""`dir` and tab completion show what is public."""

import types

import tf_alignment as ta


def modules(module=ta):
    yield module
    for name in module.__all__:
        inner = getattr(module, name)
        if isinstance(inner, types.ModuleType):
            yield from modules(inner)


def test_dir_lists_public_names_alone():
    found = list(modules())
    assert ta.phases in found and ta.spiking.lif.estimators in found
    for module in found:
        assert dir(module) == sorted(module.__all__), module.__name__
    assert not {"tf", "keras", "os"} & set(dir(ta.primitives))
