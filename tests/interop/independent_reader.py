#!/usr/bin/env python3
"""Reads a multi-quant file with nothing but the Python standard library and spec/multi-quant.md.

usage: independent_reader.py FILE.uqff SOURCE.safetensors

A second reader, written against the texts and not against the library: it parses the file as plain
safetensors, checks that its tensors tile the data, that every name outside the default variant is one
that mistral.rs ignores, that every variant resolves for every module with the bytes its shape and type
need, and decodes Q8_0 and Q4_0 blobs to compare them with the source's weights.
"""
import json
import math
import struct
import sys

BITS = {"BOOL": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8,
        "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16,
        "I32": 32, "U32": 32, "F32": 32, "C64": 64, "F64": 64, "I64": 64, "U64": 64}
# type label: (elements a block, bytes a block, id)
BLOCKS = {"f32": (1, 4, 0), "f16": (1, 2, 1), "q4_0": (32, 18, 2), "q4_1": (32, 20, 3),
          "q5_0": (32, 22, 6), "q5_1": (32, 24, 7), "q8_0": (32, 34, 8), "q8_1": (32, 36, 9),
          "q2_k": (256, 84, 10), "q3_k": (256, 110, 11), "q4_k": (256, 144, 12),
          "q5_k": (256, 176, 13), "q6_k": (256, 210, 14), "bf16": (1, 2, 30)}


def no_duplicates(pairs):
    keys = [key for key, _ in pairs]
    assert len(keys) == len(set(keys)), "duplicate key"
    return dict(pairs)


def parse_safetensors(path):
    with open(path, "rb") as file:
        blob = file.read()
    length, = struct.unpack_from("<Q", blob)
    assert 8 + length <= len(blob), "header past the end"
    text = blob[8:8 + length]
    assert text[:1] == b"{"
    header = json.loads(text.decode("utf-8"), object_pairs_hook=no_duplicates)
    metadata = header.pop("__metadata__", {})
    assert all(isinstance(v, str) for v in metadata.values())
    data = blob[8 + length:]
    at = 0
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        begin, end = entry["data_offsets"]
        assert begin == at, f"{name}: begins at {begin}, the one before ends at {at}"
        bits = BITS[entry["dtype"]] * math.prod(entry["shape"])
        assert bits % 8 == 0 and end - begin == bits // 8, f"{name}: size"
        at = end
    assert at == len(data), "bytes behind the last tensor"
    return metadata, header, data, 8 + length


def is_ignored_by_mistralrs(name):
    return ("." in name and not name.endswith(".weight") and ".weight." not in name
            and not name.isdigit())


def half(bits):
    return struct.unpack("<e", struct.pack("<H", bits))[0]


def decode(label, raw):
    """Weights of Q8_0 or Q4_0 blocks."""
    out = []
    size = BLOCKS[label][1]
    for at in range(0, len(raw), size):
        d = half(struct.unpack_from("<H", raw, at)[0])
        if label == "q8_0":
            out += [d * q for q in struct.unpack_from("<32b", raw, at + 2)]
        else:
            codes = raw[at + 2:at + 18]
            out += [d * ((c & 15) - 8) for c in codes] + [d * ((c >> 4) - 8) for c in codes]
    return out


def main(path, source_path):
    metadata, entries, data, data_start = parse_safetensors(path)
    _, source, source_data, _ = parse_safetensors(source_path)

    def content(name):
        begin, end = entries[name]["data_offsets"]
        return data[begin:end]

    for name, value in (("major", 1), ("minor", 2), ("patch", 0)):
        entry = entries[f"uqff.version.{name}"]
        assert entry["dtype"] == "U32" and entry["shape"] == []
        assert struct.unpack("<I", content(f"uqff.version.{name}"))[0] == value

    assert metadata["uqff.multi.version"] == "1.0"
    index = json.loads(metadata["uqff.multi.index"], object_pairs_hook=no_duplicates)

    # Modules, from the names alone.
    shapes = {}
    for name in entries:
        if name.endswith(".weight.format"):
            module = name[:-len(".weight.format")]
            kind = content(name)[0]
            if kind == 0:
                raw = content(module + ".weight.shape")
                shapes[module] = list(struct.unpack(f"<{len(raw) // 4}I", raw))
            else:
                assert kind == 1, f"{module}: format {kind}"
                shapes[module] = entries[module + ".weight"]["shape"]
        elif name.endswith("@uqff.shape"):
            raw = content(name)
            shapes[name[:-len("@uqff.shape")]] = list(struct.unpack(f"<{len(raw) // 4}I", raw))

    default = {}
    for module in shapes:
        if module + ".weight" in entries:
            if content(module + ".weight.format")[0] == 0:
                type_id = struct.unpack("<I", content(module + ".weight.dtype"))[0]
                default[module] = next(k for k, v in BLOCKS.items() if v[2] == type_id)
            else:
                default[module] = entries[module + ".weight"]["dtype"].lower()

    # Every other name must be one that mistral.rs passes over.
    for name in entries:
        if "@uqff." in name:
            assert is_ignored_by_mistralrs(name), name
    for name, entry in entries.items():
        kind = name.split("@uqff.")[-1]
        if kind == "residual" or kind in BLOCKS or name.endswith(".weight"):
            at = data_start + entry["data_offsets"][0]
            assert at % 64 == 0, f"{name} lies at {at}"

    errors = {}
    for variant in index["variants"]:
        total = 0
        exceptions = {module: label for label, modules in variant["except"].items()
                      for module in modules}
        for module, shape in shapes.items():
            label = exceptions.get(module, variant["type"])
            entry = module + ".weight" if default.get(module) == label else f"{module}@uqff.{label}"
            length, size, _ = BLOCKS[label]
            assert shape[-1] % length == 0
            raw = content(entry)
            assert len(raw) == math.prod(shape) // length * size, f"{entry}: {len(raw)} bytes"
            total += len(raw)
            if label in ("q8_0", "q4_0"):
                begin, end = source[module + ".weight"]["data_offsets"]
                assert source[module + ".weight"]["dtype"] == "BF16"
                want = [struct.unpack("<f", b"\0\0" + source_data[i:i + 2])[0]
                        for i in range(begin, end, 2)]
                got = decode(label, raw)
                assert len(want) == len(got)
                error = math.sqrt(sum((a - b) ** 2 for a, b in zip(want, got))
                                  / sum(a * a for a in want))
                errors.setdefault(label, []).append(error)
        assert total == variant["bytes"], f"{variant['name']}: {total} bytes, {variant['bytes']} told"
        assert sum(math.prod(s) for s in shapes.values()) == variant["weights"]
    for label, bound in (("q8_0", 0.01), ("q4_0", 0.12)):
        for error in errors.get(label, ()):
            assert 0 < error < bound, f"{label}: relative error {error}"

    residual = [n for n in entries if n.endswith("@uqff.residual")]
    for name in residual:
        original = source[name[:-len("@uqff.residual")]]
        begin, end = original["data_offsets"]
        assert entries[name]["dtype"] == original["dtype"]
        assert entries[name]["shape"] == original["shape"]
        assert content(name) == source_data[begin:end], f"{name} differs from the source"
    rows = len(content([n for n in entries if n.endswith("@uqff.digests")][0])) // 16
    assert rows == len(entries), f"{rows} digests for {len(entries) - 1} entries and the header"
    covered = len(shapes) + len(residual)
    assert covered == len(source), f"{covered} of {len(source)} source tensors"
    print(f"{path}: {len(entries)} entries, {len(shapes)} modules, {len(index['variants'])} variants, "
          f"{len(errors.get('q8_0', ())) + len(errors.get('q4_0', ()))} blobs decoded")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
