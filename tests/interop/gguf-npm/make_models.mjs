// Writes small checkpoints with random weights, one for each architecture that uqff writes as GGUF, in Hugging
// Face layout: what llama.cpp demands of an architecture shows when it loads them.
//
//     node make_models.mjs OUT TOKENIZER_FOLDER
import { copyFileSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const [out, tokenizer] = process.argv.slice(2);
const VOCABULARY = 1024;
const HIDDEN = 64;
const LAYERS = 2;
const HEADS = 4;
const KV_HEADS = 2;
const HEAD_DIM = 16;
const FEED_FORWARD = 128;
const EXPERTS = 4;
const EXPERT_FEED_FORWARD = 96;

const common = {
    vocab_size: VOCABULARY,
    hidden_size: HIDDEN,
    num_hidden_layers: LAYERS,
    num_attention_heads: HEADS,
    num_key_value_heads: KV_HEADS,
    head_dim: HEAD_DIM,
    intermediate_size: FEED_FORWARD,
    max_position_embeddings: 4096,
    rms_norm_eps: 1e-6,
    rope_theta: 10000,
    bos_token_id: 1021,
    eos_token_id: 1022,
    torch_dtype: "bfloat16",
    tie_word_embeddings: false,
};

const linear = (name, rows, columns) => [[`${name}.weight`, [rows, columns]]];
const vector = (name, n = HIDDEN) => [[name, [n]]];

const attention = (at) => [
    ...linear(`${at}self_attn.q_proj`, HEADS * HEAD_DIM, HIDDEN),
    ...linear(`${at}self_attn.k_proj`, KV_HEADS * HEAD_DIM, HIDDEN),
    ...linear(`${at}self_attn.v_proj`, KV_HEADS * HEAD_DIM, HIDDEN),
    ...linear(`${at}self_attn.o_proj`, HIDDEN, HEADS * HEAD_DIM),
];
const biases = (at) => [
    ...vector(`${at}self_attn.q_proj.bias`, HEADS * HEAD_DIM),
    ...vector(`${at}self_attn.k_proj.bias`, KV_HEADS * HEAD_DIM),
    ...vector(`${at}self_attn.v_proj.bias`, KV_HEADS * HEAD_DIM),
];
const qkNorms = (at) => [
    ...vector(`${at}self_attn.q_norm.weight`, HEAD_DIM),
    ...vector(`${at}self_attn.k_norm.weight`, HEAD_DIM),
];
const mlp = (at, rows = FEED_FORWARD, names = ["gate_proj", "up_proj", "down_proj"]) => [
    ...linear(`${at}${names[0]}`, rows, HIDDEN),
    ...linear(`${at}${names[1]}`, rows, HIDDEN),
    ...linear(`${at}${names[2]}`, HIDDEN, rows),
];
const norms = (at) => [
    ...vector(`${at}input_layernorm.weight`),
    ...vector(`${at}post_attention_layernorm.weight`),
];
const gemmaNorms = (at) => [
    ...norms(at),
    ...vector(`${at}pre_feedforward_layernorm.weight`),
    ...vector(`${at}post_feedforward_layernorm.weight`),
];
const experts = (at, rows, names) =>
    Array.from({ length: EXPERTS }, (_, e) => mlp(`${at}experts.${e}.`, rows, names)).flat();

const dense = (at) => [...norms(at), ...attention(at), ...mlp(`${at}mlp.`)];

const models = {
    llama: {
        config: {
            architectures: ["LlamaForCausalLM"],
            model_type: "llama",
            max_position_embeddings: 32768,
            rope_scaling: {
                rope_type: "llama3",
                factor: 8,
                low_freq_factor: 1,
                high_freq_factor: 4,
                original_max_position_embeddings: 4096,
            },
        },
        layer: dense,
    },
    "llama-bias": {
        config: { architectures: ["LlamaForCausalLM"], model_type: "llama", attention_bias: true },
        layer: (at) => [...dense(at), ...biases(at), ...vector(`${at}self_attn.o_proj.bias`)],
    },
    mistral: {
        config: {
            architectures: ["MistralForCausalLM"],
            model_type: "mistral",
            sliding_window: null,
            rope_scaling: { type: "linear", factor: 2 },
        },
        layer: dense,
    },
    mixtral: {
        config: {
            architectures: ["MixtralForCausalLM"],
            model_type: "mixtral",
            num_local_experts: EXPERTS,
            num_experts_per_tok: 2,
        },
        layer: (at) => [
            ...norms(at),
            ...attention(at),
            ...linear(`${at}block_sparse_moe.gate`, EXPERTS, HIDDEN),
            ...experts(`${at}block_sparse_moe.`, FEED_FORWARD, ["w1", "w3", "w2"]),
        ],
    },
    smollm3: {
        config: {
            architectures: ["SmolLM3ForCausalLM"],
            model_type: "smollm3",
            tie_word_embeddings: true,
        },
        layer: dense,
    },
    qwen2: {
        config: {
            architectures: ["Qwen2ForCausalLM"],
            model_type: "qwen2",
            rope_scaling: { type: "yarn", factor: 4, original_max_position_embeddings: 1024 },
        },
        layer: (at) => [...dense(at), ...biases(at)],
    },
    qwen3: {
        config: { architectures: ["Qwen3ForCausalLM"], model_type: "qwen3" },
        layer: (at) => [...dense(at), ...qkNorms(at)],
    },
    qwen3_moe: {
        config: {
            architectures: ["Qwen3MoeForCausalLM"],
            model_type: "qwen3_moe",
            num_experts: EXPERTS,
            num_experts_per_tok: 2,
            moe_intermediate_size: EXPERT_FEED_FORWARD,
        },
        layer: (at) => [
            ...norms(at),
            ...attention(at),
            ...qkNorms(at),
            ...linear(`${at}mlp.gate`, EXPERTS, HIDDEN),
            ...experts(`${at}mlp.`, EXPERT_FEED_FORWARD),
        ],
    },
    gemma: {
        config: {
            architectures: ["GemmaForCausalLM"],
            model_type: "gemma",
            tie_word_embeddings: true,
        },
        layer: dense,
    },
    gemma2: {
        config: {
            architectures: ["Gemma2ForCausalLM"],
            model_type: "gemma2",
            tie_word_embeddings: true,
            attn_logit_softcapping: 50,
            final_logit_softcapping: 30,
            sliding_window: 1024,
        },
        layer: (at) => [...gemmaNorms(at), ...attention(at), ...mlp(`${at}mlp.`)],
    },
    gemma3_text: {
        config: {
            architectures: ["Gemma3ForCausalLM"],
            model_type: "gemma3_text",
            tie_word_embeddings: true,
            sliding_window: 512,
        },
        layer: (at) => [...gemmaNorms(at), ...attention(at), ...qkNorms(at), ...mlp(`${at}mlp.`)],
    },
    // llama.cpp takes a model whose name holds "phi3" for one with Phi-3's vocabulary.
    "phi-longrope": {
        config: {
            architectures: ["Phi3ForCausalLM"],
            model_type: "phi3",
            num_key_value_heads: KV_HEADS,
            max_position_embeddings: 131072,
            original_max_position_embeddings: 4096,
            sliding_window: 2048,
            rope_scaling: {
                type: "longrope",
                long_factor: Array.from({ length: HEAD_DIM / 2 }, (_, i) => 1 + i / 2),
                short_factor: Array.from({ length: HEAD_DIM / 2 }, () => 1),
            },
        },
        layer: (at) => [
            ...norms(at),
            ...linear(`${at}self_attn.qkv_proj`, (HEADS + 2 * KV_HEADS) * HEAD_DIM, HIDDEN),
            ...linear(`${at}self_attn.o_proj`, HIDDEN, HEADS * HEAD_DIM),
            ...linear(`${at}mlp.gate_up_proj`, 2 * FEED_FORWARD, HIDDEN),
            ...linear(`${at}mlp.down_proj`, HIDDEN, FEED_FORWARD),
        ],
    },
};

// The same weights every time.
let state = 1n;
function random() {
    state = (state * 6364136223846793005n + 1442695040888963407n) & 0xffffffffffffffffn;
    return Number(state >> 40n) / 2 ** 24 - 0.5;
}

function writeSafetensors(path, tensors) {
    const header = {};
    let offset = 0;
    for (const [name, shape] of tensors) {
        const bytes = 2 * shape.reduce((a, b) => a * b, 1);
        header[name] = { dtype: "BF16", shape, data_offsets: [offset, offset + bytes] };
        offset += bytes;
    }
    let text = JSON.stringify(header);
    text = text.padEnd(Math.ceil(text.length / 8) * 8);
    const file = Buffer.alloc(8 + text.length + offset);
    file.writeBigUInt64LE(BigInt(text.length), 0);
    file.write(text, 8);
    const one = new DataView(new ArrayBuffer(4));
    for (let at = 8 + text.length; at < file.length; at += 2) {
        one.setFloat32(0, 0.2 * random());
        file.writeUInt16LE(one.getUint16(0), at); // the upper half of a float32 is a bfloat16
    }
    writeFileSync(path, file);
}

for (const [name, model] of Object.entries(models)) {
    const directory = join(out, name);
    const config = { ...common, ...model.config };
    const tensors = [
        ...linear("model.embed_tokens", VOCABULARY, HIDDEN),
        ...vector("model.norm.weight"),
        ...(config.tie_word_embeddings ? [] : linear("lm_head", VOCABULARY, HIDDEN)),
    ];
    for (let layer = 0; layer < LAYERS; layer++) {
        tensors.push(...model.layer(`model.layers.${layer}.`));
    }
    mkdirSync(directory);
    writeSafetensors(join(directory, "model.safetensors"), tensors);
    writeFileSync(join(directory, "config.json"), JSON.stringify(config, null, 2));
    for (const file of ["tokenizer.json", "tokenizer_config.json"]) {
        copyFileSync(join(tokenizer, file), join(directory, file));
    }
    console.log(name);
}
