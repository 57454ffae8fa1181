#!/usr/bin/env python3
"""Fails on an #include that runs against the arrows of the house.

base <- { quantizers, libgguf, safetensors, hub } <- container <- model <- { pack, validation } <- cli
"""
import pathlib
import re
import sys

# Public header -> the part it belongs to.
HEADERS = {
    "version": "base",
    "base": "base",
    "quant": "quantizers",
    "gguf": "gguf",
    "safetensors": "safetensors",
    "container": "container",
    "model": "model",
    "pack": "pack",
    "validation": "validation",
    "hub": "hub",
}
GROUND = {"base"}
CONTAINER = GROUND | {"quantizers", "gguf", "safetensors", "hub"}
# Part -> the parts whose public headers it may include, besides its own files.
ALLOWED = {
    "base": GROUND,
    "quantizers": GROUND,
    "gguf": GROUND | {"quantizers"},
    "safetensors": GROUND,
    "hub": GROUND,
    "container": CONTAINER,
    "model": CONTAINER | {"container"},
    "pack": CONTAINER | {"container", "model"},
    "validation": CONTAINER | {"container", "model"},
    "cli": CONTAINER | {"container", "model", "pack", "validation"},
}
FOLDERS = {"quantizers": "quantizers", "libgguf": "gguf", "cli": "cli"}


def part_of(path):
    """The part that a source file belongs to, by its folder or, for a public header, its name."""
    if "include" in path.parts:
        return HEADERS[path.stem]
    if path.parts[0] == "libuqff":
        return path.parts[1]
    return FOLDERS[path.parts[0]]


def main(root):
    problems = []
    graph = {}
    files = [p for top in ("libuqff", "quantizers", "libgguf", "cli")
             for p in (root / top).rglob("*.[ch]")]
    for file in files:
        relative = file.relative_to(root)
        part = part_of(relative)
        for number, line in enumerate(file.read_text().splitlines(), 1):
            match = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
            if not match:
                continue
            name = match.group(1)
            public = re.fullmatch(r"uqff/(\w+)\.h", name)
            if public:
                target = HEADERS.get(public.group(1))
                if target is None:
                    problems.append(f"{relative}:{number}: unknown public header {name}")
                elif target != part and target not in ALLOWED[part]:
                    problems.append(f"{relative}:{number}: {part} may not include {name}")
                found = next(iter((root / d / "include" / name) for d in
                                  ("libuqff", "quantizers", "libgguf")
                                  if (root / d / "include" / name).exists()), None)
            else:
                bases = [file.parent, root / relative.parts[0], root]
                found = next((b / name for b in bases if (b / name).exists()), None)
                if found is None:
                    problems.append(f"{relative}:{number}: {name} does not exist")
                elif part_of(found.resolve().relative_to(root)) != part:
                    problems.append(f"{relative}:{number}: {name} is private to another part")
            if found is not None:
                graph.setdefault(relative, set()).add(found.resolve().relative_to(root))

    # No circle between two files: depth-first over the include graph.
    state = {}

    def visit(node, trail):
        if state.get(node) == 2:
            return
        if state.get(node) == 1:
            problems.append("circle: " + " -> ".join(map(str, trail + [node])))
            return
        state[node] = 1
        for target in graph.get(node, ()):
            visit(target, trail + [node])
        state[node] = 2

    for node in sorted(graph):
        visit(node, [])
    print("\n".join(problems) or f"{len(files)} files, every include follows the arrows")
    return 1 if problems or len(files) < 10 else 0


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1]).resolve()))
