// What is rendered: conversations, the variables of each kind, and the fixed moment of strftime_now.
export const moment = "2024-07-06T09:05:00Z";

const user = (content) => ({ role: "user", content });
const assistant = (content) => ({ role: "assistant", content });
const system = (content) => ({ role: "system", content });
const tool = (content) => ({ role: "tool", content });

export const texts = ["Hello", "", "  padded \n", "it's \"quoted\" \\ back", "日本語 😀 é\nline 2\n\n",
    "</s>{{ x }}{% if %}", "\u0001\t</script>&<b>", "<think>\nwhy\n</think>\n\nbecause"];

const weather = {
    id: "abcdefghi", type: "function",
    function: { name: "get_weather",
        arguments: { city: "Köln", days: 3, x: [1, 2.5, null, true, { a: "b\n" }], none: null } },
};
const now = { id: "123456789", type: "function", function: { name: "now", arguments: {} } };

export const tools = [
    { type: "function", function: { name: "get_weather", description: " Weather\nof a \"city\" ",
        parameters: { type: "object", required: ["city"], properties: {
            city: { type: "string", description: " The city " },
            days: { type: "integer", description: "how many" },
            unit: { type: ["string", "null"], description: "C or F" },
            tags: { type: "array", items: { type: "string" }, description: "é 😀" },
            map: { type: "object", additionalProperties: { type: "number" }, description: "m" } } },
        return: { type: "string", description: "the report" } } },
    { type: "function", function: { name: "now", description: "The time",
        parameters: { type: "object", properties: {} } } },
];

// A few for every template of ours, and with `all` many more for those of others.
export function conversations(all) {
    const list = [
        [user("Hello"), assistant("Hi!"), user("Tell me a story.")],
        [system("Be brief."), user(texts[3]), assistant(texts[4]), user(texts[7])],
        [user("Weather?"), { role: "assistant", content: null, tool_calls: [weather] },
            tool("{\"t\": 21}"), assistant("21°")],
        [system("s"), user("w?"), { role: "assistant", content: "let me", tool_calls: [weather, now] },
            tool("a"), tool("b"), user("thanks")],
        [{ role: "user", name: "ada l", content: [{ type: "text", text: " look " }, { type: "image" }] },
            assistant(texts[7])],
        [user("a"), user("b")],
        [],
    ];
    if (!all) {
        return list;
    }
    for (const text of texts) {
        list.push([user(text)], [system(text), user("q")], [user("a"), assistant(text)],
            [system("sys"), user(text), assistant(text), user("again " + text)]);
    }
    list.push([system("x")], [assistant("a")], [user("/no_think x")],
        [user("1"), assistant("2"), user("3"), assistant("4"), user("5")],
        [user("w?"), { role: "assistant", tool_calls: [weather] }, tool({ content: "inner" })],
        [user("w?"), { role: "assistant", content: "", tool_calls:
            [{ ...now, function: { name: "now", arguments: "{}" } }] }, tool("x")],
        [{ role: "user", content: [{ type: "text", text: "hi" }, { type: "image_url" }, { type: "audio" }] }],
        [{ role: "system", content: [{ type: "text", text: "sys" }] },
            { role: "user", content: [{ type: "image" }, { type: "text", text: "x" }] },
            { role: "assistant", content: [{ type: "text", text: "y" }] }],
        [{ role: "weird", content: "x" }], [{ role: "user" }], [{ role: "user", content: 5 }]);
    return list;
}

export function variables(all) {
    const extras = all
        ? [{}, { tools }, { tools: null }, { enable_thinking: false, xml_tools: ["{\"a\": 1}"],
            python_tools: ["def f(): pass"] }]
        : [{ add_generation_prompt: true, tools }, { add_generation_prompt: false, enable_thinking: false }];
    const list = [];
    for (const messages of conversations(all)) {
        for (const extra of extras) {
            for (const prompt of all ? [{}, { add_generation_prompt: true }] : [{}]) {
                list.push({ messages, bos_token: "<s>", eos_token: "</s>", ...prompt, ...extra });
            }
        }
    }
    return list;
}
