"""Encoding of a run's settings as JSON, and decoding in another process.

Numbers, strings, lists and dictionaries are written unchanged. A Keras object is written as its
config. A function or class is written as its name with the file that defines it, so that another
process, which does not know the caller's script, finds it. Nothing is pickled.
"""

from __future__ import annotations

import ast
import collections
import functools
import hashlib
import importlib
import importlib.util
import inspect
import json
import os
import re
import sys
import sysconfig
import textwrap
import types
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np

__all__ = ["Encoder", "decode", "digest", "load_reference", "mentions", "own_objects"]

_FUNCTION, _KERAS = "<function>", "<keras>"
_UNSEEN = keras.optimizers.Optimizer, keras.losses.Loss
"""Classes whose names no result contains."""

_IDENTIFIER = re.compile(r"(?:\b(?:id|attr|name)|\bkeyword\(arg)='[^']*'")
"""Names in the text of a syntax tree that are neither strings nor arguments of a function."""

_INSTALLED = tuple(
    str(Path(sysconfig.get_paths()[kind]).resolve()) for kind in ("stdlib", "purelib", "platlib")
)


def digest(content: Any, length: int = 12) -> str:
    """Short hash of JSON content, or of bytes.

    Args:
        content: JSON content or bytes.
        length: Number of hexadecimal digits.
    """
    if not isinstance(content, bytes):
        content = json.dumps(content, sort_keys=True).encode()
    return hashlib.sha256(content).hexdigest()[:length]


class Encoder:
    """Encoder of settings as JSON; it notes the files that another process has to import.

    Attributes:
        files: Files of modules that are not installed, `{module name: file}`.
        sources: Digests of the code of functions and classes in these modules,
            `{"module:name": digest}`.
    """

    def __init__(self) -> None:
        self.files: dict[str, str] = {}
        self.sources: dict[str, str] = {}
        self._names: collections.Counter[str] = collections.Counter()

    def encode(self, name: str, value: Any) -> Any:
        """Encode a value as JSON.

        Args:
            name: Name of the argument, for the error message.
            value: Number, string, Keras object, function or class of a module,
                `functools.partial` of these, or a list or dictionary of such values.

        Raises:
            TypeError: If `value` contains anything else.
        """
        if value is None or isinstance(value, bool | int | float | str):
            return value
        if isinstance(value, np.generic):
            return value.item()
        if isinstance(value, os.PathLike):
            return os.fspath(value)
        if isinstance(value, list | tuple):
            return [self.encode(name, entry) for entry in value]
        if isinstance(value, dict) and all(isinstance(key, str) for key in value):
            return {key: self.encode(f"{name}[{key!r}]", entry) for key, entry in value.items()}
        if isinstance(value, functools.partial):
            return {
                **self.encode(name, value.func),
                "arguments": self.encode(name, value.args),
                "keywords": self.encode(name, value.keywords),
            }
        if isinstance(value, type | types.FunctionType | types.BuiltinFunctionType):
            return {_FUNCTION: self._reference(name, value)}
        if hasattr(value, "get_config"):
            return {_KERAS: self.config(name, value)}
        raise TypeError(
            f"Argument `{name}` must be made of numbers, strings, Keras objects and functions of a "
            f"module, which another process can read. Received: {name}={value!r}"
        )

    def config(self, name: str, value: Any) -> Any:
        """Encode a Keras object as its config.

        Args:
            name: Name of the argument, for the error message.
            value: Keras object.
        """
        config = keras.saving.serialize_keras_object(value)
        for part in _parts(config):
            part.pop("shared_object_id", None)  # another one in every process
            if "class_name" not in part:
                continue
            module = part.get("module") or "__main__"  # Keras leaves a script's name out
            found = getattr(sys.modules.get(module), str(part["class_name"]), None)
            if hasattr(found, "__qualname__") and _is_own(module):
                part["module"] = self._reference(name, found).partition(":")[0]
            if isinstance(found, type) and issubclass(found, _UNSEEN):
                self._renumber(part["config"], found)
        return config

    def _renumber(self, config: dict[str, Any], cls: type) -> None:
        """Number an automatic name anew: Keras counts all objects of the process."""
        base = re.sub(r"_\d+$", "", str(config.get("name")))
        if base.replace("_", "") == cls.__name__.replace("_", "").lower():
            count = self._names[base]
            config["name"] = f"{base}_{count}" if count else base
            self._names[base] += 1

    def _reference(self, name: str, value: Any) -> str:
        """Reference `"module:name"` of a function or class."""
        module = getattr(value, "__module__", None) or ""
        path = value.__qualname__
        if "<" in path:
            raise TypeError(
                f"Argument `{name}` must be a function or class at the top of a module, or a "
                "functools.partial of one: a run is a process of its own, which has to find it. "
                f"Received: {name}={value!r}"
            )
        if not _is_own(module):
            return f"{module}:{path}"
        known, file = _name_and_file(name, module, value)
        self.files[known] = file
        reference = f"{known}:{path}"
        # a script is `__main__` where it runs, and a module of its name elsewhere
        sources = {key.partition(":")[2] or key: text for key, text in _sources(value).items()}
        self.sources[reference] = digest(sources)
        return reference


def decode(value: Any) -> Any:
    """Decode a value that `Encoder.encode` wrote; tuples become lists.

    Args:
        value: JSON content.
    """
    if isinstance(value, list):
        return [decode(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    if _KERAS in value:
        return keras.saving.deserialize_keras_object(value[_KERAS])
    if _FUNCTION in value:
        function = load_reference(value[_FUNCTION])
        if "arguments" not in value:
            return function
        keywords = decode(value["keywords"])
        return functools.partial(function, *decode(value["arguments"]), **keywords)
    return {key: decode(entry) for key, entry in value.items()}


def load_reference(reference: str) -> Any:
    """Object that a reference `"module:name"` or `"path/to/file.py:name"` names.

    Args:
        reference: Reference to the object, in one of these forms.

    Raises:
        ValueError: If `reference` has another form, there is no such file or module, or it contains
            no object of that name.

    Example:
    >>> from tf_alignment.studies.encoding import load_reference
    >>> load_reference("math:sqrt")(9.0)
    3.0
    """
    module, _, path = reference.rpartition(":")
    if not module or not path:
        raise ValueError(
            "A rule, model or function is named as 'module:name' or 'file.py:name'. "
            f"Received: {reference!r}"
        )
    try:
        if module.endswith(".py"):
            file = Path(module).expanduser().resolve()
            found: Any = _from_file(file.stem, str(file))
        else:
            found = importlib.import_module(module)
    except (ModuleNotFoundError, FileNotFoundError) as error:
        raise ValueError(
            f"A rule, model or function must be in a module or file that exists: {error}. "
            f"Received: {reference!r}"
        ) from None
    for name in path.split("."):
        if not hasattr(found, name):
            raise ValueError(
                "A rule, model or function must be named as 'module:name' or 'file.py:name', and "
                f"{module!r} has no {path!r}. Received: {reference!r}"
            )
        found = getattr(found, name)
    return found


def own_objects(files: dict[str, str], sources: Iterable[str]) -> dict[str, Any]:
    """Import the user's modules from their files; return their classes and functions by name.

    In a `keras.saving.custom_object_scope` of the result, Keras finds classes that are not
    registered.

    Args:
        files: Files of the modules, see `Encoder.files`.
        sources: References `"module:name"`, the keys of `Encoder.sources`.
    """
    for name, file in files.items():
        _from_file(name, file)
    found = [load_reference(reference) for reference in sources]
    return {each.__name__: each for each in found}


def _from_file(name: str, file: str) -> types.ModuleType:
    root = Path(file).parent
    for _ in name.split(".")[1:]:
        root = root.parent
    if Path(file).name == "__init__.py":
        root = root.parent
    if str(root) not in sys.path:
        sys.path.append(str(root))  # modules beside it that it imports
    loaded = sys.modules.get(name)
    if loaded is not None:
        if Path(getattr(loaded, "__file__", None) or "").resolve() != Path(file).resolve():
            raise ValueError(
                f"A module must not be called as another one is: {name!r} is already "
                f"{getattr(loaded, '__file__', 'built in')!r}. Received: {file!r}"
            )
        return loaded
    if "." in name:
        return importlib.import_module(name)
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None or not Path(file).is_file():
        raise FileNotFoundError(f"no file {file!r}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def mentions(function: Any, name: str) -> bool:
    """Whether a function may use a name, as a string or as an argument, and so read a setting.

    This is looked for in the user's code to which the function refers; a module to which it refers
    as a whole may contain anything.

    Args:
        function: Function, class, or a `functools.partial` of either.
        name: Name of a setting.
    """
    while isinstance(function, functools.partial):
        if repr(name) in repr((function.args, function.keywords)):
            return True
        function = function.func
    if not isinstance(function, type | types.FunctionType):
        return False
    return any(
        ":" not in reference or text == "unknown" or repr(name) in _IDENTIFIER.sub("", text)
        for reference, text in _sources(function).items()
    )


def _is_own(module: str) -> bool:
    """Whether a module is the user's own: neither part of this library nor installed."""
    top = module.partition(".")[0]
    if top in ("tf_alignment", "builtins", "keras", "tensorflow"):
        return False
    file = getattr(sys.modules.get(module), "__file__", None)
    return file is None or not _is_installed(file)


def _is_installed(file: str) -> bool:
    return str(Path(file).resolve()).startswith(_INSTALLED)


def _name_and_file(name: str, module: str, value: Any) -> tuple[str, str]:
    """Name under which another process imports a module, and the module's file."""
    loaded = sys.modules.get(module)
    file = getattr(loaded, "__file__", None)
    if file is None:
        raise TypeError(
            f"Argument `{name}` must be written in a file, which each run imports; what is defined "
            f"in a notebook or at a prompt has none. Received: {name}={value!r}"
        )
    file = str(Path(file).resolve())
    if module != "__main__":
        return module, file
    spec = getattr(loaded, "__spec__", None)  # of `python -m package.module`
    return (spec.name if spec is not None else Path(file).stem), file


def _parts(config: Any) -> Iterator[dict[str, Any]]:
    if isinstance(config, dict):
        yield config
        for value in config.values():
            yield from _parts(value)
    elif isinstance(config, list | tuple):
        for value in config:
            yield from _parts(value)


def _sources(value: Any) -> dict[str, str]:
    """Code of a function or class, and of all the user's code that it refers to.

    Comments, docstrings and layout are left out, since they do not change results.
    """
    found: dict[str, str] = {}
    todo = [value]
    while todo:
        item = inspect.unwrap(todo.pop())
        module = item.__module__
        reference = f"{module}:{item.__qualname__}"
        if reference in found or not _is_own(module):
            continue
        try:
            tree = _code(textwrap.dedent(inspect.getsource(item)))
        except (OSError, TypeError, SyntaxError):
            found[reference] = "unknown"
            continue
        found[reference] = ast.dump(tree)
        if isinstance(item, type):
            todo.extend(base for base in item.__mro__[1:] if base is not object)
        _add_references(tree, sys.modules[module], found, todo)
    return found


def _add_references(
    tree: ast.AST, module: types.ModuleType, found: dict[str, str], todo: list[Any]
) -> None:
    """Add what a piece of a module's code refers to: functions and classes to do, the rest found.

    Constants count by the statements that make them, not by their value, which may be a cache that
    fills while a program runs; plain numbers, strings and tuples by their value.
    """
    namespace, bound = vars(module), _bindings(_text(module))
    found |= _imported(tree, module)  # inside of functions
    for name in sorted({n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}):
        used, reference = namespace.get(name), f"{module.__name__}:{name}"
        if isinstance(used, type | types.FunctionType) or hasattr(used, "__wrapped__"):
            todo.append(used)
        elif isinstance(used, types.ModuleType):
            if _is_own(used.__name__):
                file = getattr(used, "__file__", None)
                found[used.__name__] = _of_file(file) if file else "unknown"
        elif isinstance(used, bool | int | float | str | tuple):
            found[reference] = repr(used)
        elif name in bound and reference not in found:
            found[reference] = "".join(map(ast.dump, bound[name]))
            for statement in bound[name]:
                _add_references(statement, module, found, todo)


def _text(module: types.ModuleType) -> str:
    try:
        return inspect.getsource(module)
    except (OSError, TypeError):
        return ""


@functools.lru_cache
def _bindings(text: str) -> dict[str, list[ast.stmt]]:
    """Statements of a module, outside of functions and classes, that bind each of its names."""
    bound: dict[str, list[ast.stmt]] = {}
    try:
        todo: list[ast.AST] = list(ast.parse(text).body)
    except SyntaxError:  # the file is being written while what it held before runs
        return bound
    while todo:
        node = todo.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        if isinstance(node, ast.If | ast.Try | ast.With | ast.For | ast.While):
            todo.extend(ast.iter_child_nodes(node))
        if isinstance(node, ast.Import | ast.ImportFrom):
            for alias in node.names:
                name = alias.asname or alias.name.partition(".")[0]
                bound.setdefault(name, []).append(node)
        elif isinstance(node, ast.stmt):
            stored = (n for n in ast.walk(node) if isinstance(n, ast.Name))
            for name in {n.id for n in stored if isinstance(n.ctx, ast.Store)}:
                bound.setdefault(name, []).append(node)
    return bound


def _imported(tree: ast.AST, module: types.ModuleType) -> dict[str, str]:
    """Digests of the user's own modules that a piece of code imports, by name."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            relative = "." * node.level + (node.module or "")
            try:
                start = importlib.util.resolve_name(relative, module.__package__)
            except ImportError:
                continue
            names |= {start, *(f"{start}.{alias.name}" for alias in node.names)}
    files = {name: file for name in sorted(names) if (file := _own_file(name)) is not None}
    return {name: _of_file(file) for name, file in files.items()}


def _of_file(file: str) -> str:
    """Digest of a file's code, as in `_sources` without comments, docstrings and layout."""
    return _of_content(Path(file).read_bytes())


@functools.lru_cache
def _of_content(content: bytes) -> str:
    """Digest of the code in a file; many functions of a study name the same few modules."""
    try:
        return digest(ast.dump(_code(content)).encode())
    except (SyntaxError, ValueError):  # no Python
        return digest(content)


def _own_file(module: str) -> str | None:
    """File of one of the user's own modules, found without importing anything."""
    top, *rest = module.split(".")
    try:
        spec = importlib.util.find_spec(top) if _is_own(top) else None
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    files = [Path(spec.origin)] if spec.origin else []
    if rest:
        folders = [Path(place, *rest[:-1]) for place in spec.submodule_search_locations or ()]
        names = (f"{rest[-1]}.py", f"{rest[-1]}/__init__.py")
        files = [folder / name for folder in folders for name in names]
    own = (str(file) for file in files if file.is_file() and not _is_installed(str(file)))
    return next(own, None)


def _code(text: str | bytes) -> ast.Module:
    """Syntax tree without docstrings."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            node.body = [s for s in node.body if not _is_string(s)] or [ast.Pass()]
    return tree


def _is_string(statement: ast.stmt) -> bool:
    """Whether a statement is a string that nothing uses: a docstring of what is around or above."""
    value = statement.value if isinstance(statement, ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)
