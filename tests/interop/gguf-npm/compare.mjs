// Compares what @huggingface/gguf reads in a GGUF with what `uqff inspect --json` tells of it: every key
// with its type and value, every tensor with its type, shape and place.
//
//     node compare.mjs FILE.gguf INSPECT.json
import { readFileSync } from "node:fs";
import { GGMLQuantizationType, GGUFValueType, gguf } from "@huggingface/gguf";

const kinds = {
    [GGUFValueType.UINT8]: "u8",
    [GGUFValueType.INT8]: "i8",
    [GGUFValueType.UINT16]: "u16",
    [GGUFValueType.INT16]: "i16",
    [GGUFValueType.UINT32]: "u32",
    [GGUFValueType.INT32]: "i32",
    [GGUFValueType.FLOAT32]: "f32",
    [GGUFValueType.BOOL]: "bool",
    [GGUFValueType.STRING]: "string",
    [GGUFValueType.ARRAY]: "array",
    [GGUFValueType.UINT64]: "u64",
    [GGUFValueType.INT64]: "i64",
    [GGUFValueType.FLOAT64]: "f64",
};
const header = new Set(["version", "tensor_count", "kv_count"]);
const problems = [];

function check(what, found, expected) {
    if (found !== expected) {
        problems.push(`${what}: @huggingface/gguf has ${found}, uqff ${expected}`);
    }
}

// Integers beyond 2^53 are strings in uqff's JSON and bigints here.
function plain(value) {
    return JSON.stringify(value, (_, v) =>
        typeof v === "bigint" ? (v > BigInt(Number.MAX_SAFE_INTEGER) ? v.toString() : Number(v)) : v,
    );
}

const [file, inspection] = process.argv.slice(2);
const theirs = await gguf(file, { typedMetadata: true, allowLocalFile: true });
const ours = JSON.parse(readFileSync(inspection, "utf8"));

const keys = Object.keys(theirs.typedMetadata).filter((key) => !header.has(key));
check("keys in order", keys.join(" "), ours.metadata.map((entry) => entry.key).join(" "));
for (const entry of ours.metadata) {
    const other = theirs.typedMetadata[entry.key];
    if (other === undefined) {
        continue;
    }
    const kind = kinds[other.type] === "array" ? `${kinds[other.subType]}[]` : kinds[other.type];
    check(`${entry.key}, type`, kind, entry.type.replace(/\[\d+\]$/, "[]"));
    check(`${entry.key}, value`, plain(other.value), plain(entry.value));
}

check("tensors", theirs.tensorInfos.length, ours.tensors.length);
theirs.tensorInfos.forEach((tensor, i) => {
    const own = ours.tensors[i];
    check(`tensor ${i}, name`, tensor.name, own?.name);
    check(`${tensor.name}, type`, GGMLQuantizationType[tensor.dtype], own?.type);
    check(`${tensor.name}, shape`, plain([...tensor.shape].reverse()), plain(own?.shape));
    check(`${tensor.name}, place`, Number(tensor.offset + theirs.tensorDataOffset), own?.offset);
});

for (const problem of problems) {
    console.log(`${file}: ${problem}`);
}
console.log(`${file}: ${keys.length} keys and ${theirs.tensorInfos.length} tensors compared`);
process.exit(problems.length > 0 ? 1 : 0);
