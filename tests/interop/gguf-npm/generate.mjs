// Loads GGUFs into llama.cpp (the prebuilt one of node-llama-cpp), tokenizes a text there and back, and
// lets each go on with it. Nothing is downloaded or built. With --any it may say anything.
//
//     node generate.mjs [--any] TEXT FILE.gguf...
import { getLlama, LlamaLogLevel } from "node-llama-cpp";

const TOKENS = 24;
const any = process.argv[2] === "--any";
const [text, ...files] = process.argv.slice(any ? 3 : 2);
let failed = false;

const llama = await getLlama({
    gpu: false,
    build: "never",
    skipDownload: true,
    usePrebuiltBinaries: true,
    progressLogs: false,
    logLevel: LlamaLogLevel.error,
});

async function generate(model, tokens) {
    const context = await model.createContext({ contextSize: 128, threads: 1 });
    const start = model.tokens.bos == null ? tokens : [model.tokens.bos, ...tokens];
    const made = [];
    for await (const token of context.getSequence().evaluate(start, { temperature: 0 })) {
        made.push(token);
        if (made.length === TOKENS) {
            break;
        }
    }
    await context.dispose();
    return model.detokenize(made);
}

for (const file of files) {
    const model = await llama.loadModel({ modelPath: file, gpuLayers: 0 });
    const tokens = model.tokenize(text);
    const back = model.detokenize(tokens);
    const story = await generate(model, tokens);
    // The model knows its language: words of letters, most of them separated by single spaces.
    const words = story.trim().split(/\s+/).length;
    if (back.trim() !== text || tokens.length >= text.length || (words < 6 && !any)) {
        failed = true;
        console.log(`${file}: found ${tokens.length} tokens, "${back}", ${words} words`);
    }
    console.log(any ? `${file}: loaded, and generated` : `${file}: ${text}|${story}`);
    await model.dispose();
}
await llama.dispose();
process.exit(failed ? 1 : 0);
