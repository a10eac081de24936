#!/usr/bin/env python3
"""Looks for circles among the imports of files, crate by crate, tests left out.

A file imports another if it names something that is declared there; re-exports are
followed to the declaration. Fails if files import each other in a circle.

  scripts/imports.py            names each circle
  scripts/imports.py --graph    prints all imports, as Graphviz's dot reads them
"""

import re
import sys
from pathlib import Path

CRATES = ["shared/src", "shared/domain/src", "local/src", "tests/simulation/src"]
TESTS = re.compile(r"(^|/)(tests|testing|\w+_tests|parser_robustness)(\.rs|/)")
COMMENT = re.compile(r"//[^\n]*|\"(?:[^\"\\]|\\.)*\"")
USE = re.compile(r"(?:^|\n)\s*(?P<public>pub(?:\([^)]*\))?\s+)?use\s+(?P<tree>[^;]+);")
PATH = re.compile(r"\b(?:crate|super|self)(?:::\w+)+")
VISIBILITY = re.compile(r"pub\(in [^)]*\)")
TEST_MODULE = re.compile(r"#\[cfg\(test\)\]\s*mod \w+ \{")


def without_tests(text):
    """Returns the code without comments, texts and test modules."""
    text = VISIBILITY.sub("pub", COMMENT.sub('""', text))
    while found := TEST_MODULE.search(text):
        depth, at = 1, found.end()
        while depth and at < len(text):
            depth += {"{": 1, "}": -1}.get(text[at], 0)
            at += 1
        text = text[: found.start()] + text[at:]
    return text


def leaves(tree, before=()):
    """Yields (path, name that it has here) of a use tree."""
    tree = tree.strip()
    head, brace, rest = tree.partition("{")
    if not brace:
        path, _, alias = tree.partition(" as ")
        parts = tuple(part.strip() for part in path.split("::"))
        full = before + parts
        if full[-1] == "self":
            full = full[:-1]
        yield full, alias.strip() or full[-1]
        return
    before += tuple(part for part in head.strip().split("::") if part)
    depth, start = 0, 0
    inside = rest[: rest.rindex("}")] + ","
    for at, sign in enumerate(inside):
        depth += {"{": 1, "}": -1}.get(sign, 0)
        if sign == "," and depth == 0:
            if inside[start:at].strip():
                yield from leaves(inside[start:at], before)
            start = at + 1


def module_of(file, root):
    parts = list(file.relative_to(root).with_suffix("").parts)
    return tuple(parts[:-1] if parts[-1] in ("mod", "lib", "main") else parts)


def absolute(path, module, modules):
    """Returns a path from the crate's root, or None if it leads out of the crate."""
    here, path = module, list(path)
    if path[0] == "crate":
        here, path = (), path[1:]
    elif path[0] in ("self", "super"):
        while path and path[0] in ("self", "super"):
            here = here[:-1] if path.pop(0) == "super" else here
    elif module + (path[0],) not in modules:
        return None
    return here + tuple(path)


def declared(path, modules, exports, seen=()):
    """Returns the module that declares what a path names."""
    module = ()
    for at, part in enumerate(path):
        if module + (part,) in modules:
            module += (part,)
            continue
        target = exports.get((module, part))
        if target and target not in seen:
            return declared(target + path[at + 1 :], modules, exports, seen + (target,))
        return module
    return module


def imports(root):
    """Returns each module's imports."""
    files = [file for file in root.rglob("*.rs") if not TESTS.search(str(file.relative_to(root)))]
    modules = {module_of(file, root): file for file in files}
    code = {module: without_tests(file.read_text()) for module, file in modules.items()}
    exports, named = {}, {module: set() for module in modules}
    for module, text in code.items():
        for use in USE.finditer(text):
            for path, name in leaves(use["tree"]):
                target = absolute(path, module, modules)
                if target is None:
                    continue
                if use["public"]:
                    exports[module, name] = target
                else:
                    named[module].add(target)
        for path in PATH.findall(USE.sub("\n", text)):
            named[module].add(absolute(path.split("::"), module, modules))
    graph = {}
    for module, paths in named.items():
        targets = {declared(path, modules, exports) for path in paths if path is not None}
        graph[module] = sorted(targets - {module})
    return graph, modules


def circles(graph):
    """Returns the strongly connected components of more than one node (Tarjan)."""
    index, low, stack, found = {}, {}, [], []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        for target in graph[node]:
            if target not in index:
                visit(target)
            if target in stack:
                low[node] = min(low[node], low[target])
        if low[node] == index[node]:
            at = stack.index(node)
            component = stack[at:]
            del stack[at:]
            if len(component) > 1:
                found.append(component)

    for node in graph:
        if node not in index:
            visit(node)
    return found


def main():
    sys.setrecursionlimit(10_000)
    failed = False
    for crate in CRATES:
        graph, modules = imports(Path(crate))
        name = {module: str(file.relative_to(crate)) for module, file in modules.items()}
        if "--graph" in sys.argv:
            edges = [(name[a], name[b]) for a, targets in graph.items() for b in targets]
            print(f'digraph "{crate}" {{')
            print("".join(f'  "{a}" -> "{b}";\n' for a, b in edges) + "}")
            continue
        for circle in circles(graph):
            failed = True
            print(f"{crate}: these import each other: {', '.join(sorted(map(name.get, circle)))}")
            for a in circle:
                for b in set(graph[a]) & set(circle):
                    print(f"  {name[a]} imports {name[b]}")
        count = sum(len(targets) for targets in graph.values())
        print(f"{crate}: {len(graph)} files, {count} imports, {len(circles(graph))} circles")
    sys.exit(failed)


if __name__ == "__main__":
    main()
