// Compares uqff's chat templates with @huggingface/jinja:
//
//     node oracle.mjs RENDER TESTDATA [EXTRA_DATA]    compares, on our templates, on others', at random
//     node oracle.mjs --write TESTDATA                writes the expected renderings of our templates
//
// RENDER is the program of render_templates.c. Where the package refuses, uqff may go further (the
// extensions of spec/templates.md); where the package renders, the text must be the same.
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { Template } from "@huggingface/jinja";
import { moment, variables } from "./cases.mjs";
import { randomTemplates } from "./random.mjs";

// strftime_now() reads the clock, which stands still here.
const RealDate = Date;
globalThis.Date = class extends RealDate {
    constructor(...given) {
        super(...(given.length > 0 ? given : [moment]));
    }
};

// The text that the package renders; null where it refuses.
function reference(template, given) {
    try {
        return Buffer.from(new Template(template).render(given), "utf8").toString("utf8");
    } catch {
        return null;
    }
}

function render(program, cases) {
    const parts = [];
    for (const text of cases.flatMap(({ template, given }) =>
        [template, JSON.stringify({ ...given, strftime_now: moment.slice(0, 19) })])) {
        const bytes = Buffer.from(text, "utf8"), length = Buffer.alloc(4);
        length.writeUInt32LE(bytes.length);
        parts.push(length, bytes);
    }
    const run = spawnSync(program, [], { input: Buffer.concat(parts), maxBuffer: 1 << 30 });
    const out = [];
    for (let i = 0; i < run.stdout.length;) {
        const code = run.stdout.readUInt32LE(i), n = run.stdout.readUInt32LE(i + 4);
        out.push({ code, text: run.stdout.subarray(i + 8, i + 8 + n).toString("utf8") });
        i += 8 + n;
    }
    if (run.status !== 0 || out.length !== cases.length) {
        const at = cases[out.length];
        throw new Error(`${program} ended with ${run.status ?? run.signal} after ${out.length} cases, at ` +
            `${JSON.stringify(at)}\n${run.stderr}`);
    }
    return out;
}

let failures = 0;
function compare(program, title, cases) {
    const found = render(program, cases);
    let same = 0, refused = 0, beyond = 0;
    cases.forEach(({ template, given }, i) => {
        const expected = reference(template, given), { code, text } = found[i];
        if (expected === null) {
            code === 0 ? beyond++ : refused++;
        } else if (code === 0 && text === expected) {
            same++;
        } else if (!allowed(expected, code, text) && ++failures <= 5) {
            console.log(`${title}: ${JSON.stringify(template)}\n  with ${JSON.stringify(given).slice(0, 400)}\n` +
                `  found    ${code} ${JSON.stringify(text).slice(0, 1000)}\n` +
                `  expected ${JSON.stringify(expected).slice(0, 1000)}`);
        }
    });
    console.log(`${title}: ${cases.length} cases, ${same} the same, ${refused} refused by both, ` +
        `${beyond} by the package only`);
}

// What uqff refuses on purpose: the source text of functions, and runaway recursion.
function allowed(expected, code, text) {
    return code !== 0 && /has no printed form|nested more than/.test(text);
}

function ours(testdata) {
    const folder = path.join(testdata, "templates");
    return fs.readdirSync(folder).filter((name) => name.endsWith(".jinja")).sort().flatMap((name) => {
        const template = fs.readFileSync(path.join(folder, name), "utf8");
        return variables(false).map((given) => ({ name: name.replace(".jinja", ""), template, given }));
    });
}

function snippets(testdata) {
    const { variables: given, cases } =
        JSON.parse(fs.readFileSync(path.join(testdata, "templates", "snippets.json"), "utf8"));
    return cases.map(([template]) => ({ template, given: JSON.parse(given) }));
}

// The templates in folders of files, tokenizer configurations and GGUF metadata.
function others(extra) {
    const list = [];
    const zoo = path.join(extra, "zoo", "chat-templates-mistralrs");
    for (const name of fs.readdirSync(zoo).sort()) {
        const text = fs.readFileSync(path.join(zoo, name), "utf8");
        list.push(name.endsWith(".json") ? JSON.parse(text).chat_template : text);
    }
    for (const entry of fs.readdirSync(extra, { recursive: true }).sort()) {
        const file = path.join(extra, entry);
        if (path.basename(file) === "tokenizer_config.json") {
            list.push(JSON.parse(fs.readFileSync(file, "utf8")).chat_template);
        } else if (file.endsWith(".gguf") && fs.statSync(file).size < 64 << 20) {
            const bytes = fs.readFileSync(file), key = "tokenizer.chat_template";
            const at = bytes.indexOf(key) + key.length; // then u32 kind, u64 length, the text
            if (at >= key.length && bytes.readUInt32LE(at) === 8) {
                const n = Number(bytes.readBigUInt64LE(at + 4));
                list.push(bytes.subarray(at + 12, at + 12 + n).toString("utf8"));
            }
        }
    }
    return list.filter((template) => typeof template === "string")
        .flatMap((template) => variables(true).map((given) => ({ template, given })));
}

function write(testdata) {
    const byName = {};
    for (const { name, template, given } of ours(testdata)) {
        (byName[name] ??= []).push([JSON.stringify({ ...given, strftime_now: moment.slice(0, 19) }),
            reference(template, given)]);
    }
    for (const [name, cases] of Object.entries(byName)) {
        const lines = cases.map((one) => JSON.stringify(one)).join(",\n");
        fs.writeFileSync(path.join(testdata, "templates", `${name}.json`), `[\n${lines}\n]\n`);
    }
    const file = path.join(testdata, "templates", "snippets.json");
    const { variables: given, cases } = JSON.parse(fs.readFileSync(file, "utf8"));
    const lines = cases.map(([template]) =>
        JSON.stringify([template, reference(template, JSON.parse(given))])).join(",\n");
    fs.writeFileSync(file, `{"variables": ${JSON.stringify(given)},\n"cases": [\n${lines}\n]}\n`);
}

const [program, testdata, extra] = process.argv.slice(2);
if (program === "--write") {
    write(testdata);
} else {
    compare(program, "our templates", ours(testdata));
    compare(program, "snippets", snippets(testdata));
    if (extra) {
        compare(program, "templates of others", others(extra));
    }
    compare(program, "random templates", randomTemplates(20240706, 6000));
    process.exitCode = failures > 0 ? 1 : 0;
}
