// Templates made at random from a grammar of the language, with values of every kind.
const given = {
    s: "Hello wörld 'x' \"y\"\n", e: "", n: 3, f: 2.5, z: 0, neg: -4, t: true, fa: false, nul: null,
    w: "  ab  cd\n", c: "aBc-deF_g", l: [3, 1, 2], ls: ["b", "a", "C", "a"],
    o: { b: 1, a: 2, "k k": [1, 2] }, lo: [{ r: "u", c: 1 }, { r: "a", c: 2 }, { r: "u", c: null }, { x: 1 }],
    em: [], eo: {}, u: "日本😀é", f2: 2.0, nest: { a: { b: [1, "x", null, true, 1.5] } },
    pairs: [["a", 1], ["b", 2]],
};
const names = [...Object.keys(given), "undef", "ns", "mm", "loop", "x", "y", "range", "none"];
const strings = ["'a'", "'b c'", "'\\n'", "'é😀'", "''", "'a,b,,c'", "'1.5'", "' 7 '", "'Ab\\u00df'", "'key'"];
const numbers = ["0", "1", "2", "3", "4", "1.5", "0.0", "10.25", "2.0"];
const constants = ["true", "false", "none", "[]", "{}"];
const filters = ["length", "first", "last", "reverse", "sort", "unique", "join", "join(', ')", "list", "string",
    "upper", "lower", "title", "capitalize", "trim", "tojson", "tojson(indent=2)", "int", "float", "abs",
    "default('d')", "default('d', true)", "items", "keys", "values", "dictsort", "replace('a', 'X')",
    "replace('', '-')", "replace('b', 'Y', 1)", "indent", "indent(2, true)", "indent(3, blank=true)", "safe",
    "map(attribute='r')", "map(attribute='c', default=0)", "selectattr('r')", "selectattr('r', 'equalto', 'u')",
    "rejectattr('c')", "sort(reverse=true)", "sort(attribute='c')", "int(9)", "float(1.5)",
    "tojson(sort_keys=true, ensure_ascii=true)", "tojson(separators=(',', ':'))", "dictsort(by='value')",
    "dictsort(reverse=true)"];
const tests = ["defined", "undefined", "none", "string", "number", "integer", "mapping", "iterable", "sequence",
    "boolean", "true", "false", "odd", "even", "lower", "upper", "callable"];
const members = ["strip()", "lstrip()", "rstrip('x')", "split()", "split(',')", "split('a', 1)",
    "split(none, 1)", "startswith('a')", "endswith(('c', '\\n'))", "upper()", "lower()", "title()",
    "capitalize()", "replace('a', 'b')", "replace('l', 'L', 1)", "items()", "keys()", "values()", "get('a')",
    "get('q')", "get('q', 'd')", "length", "a", "b", "r", "c", "x", "zz"];
const indices = ["0", "1", "-1", "'a'", "n", "1:", "::2", "::-1", ":-1", "1:2", "-2:", ":n", "7", "-9:9:2",
    "3::-1", "z:n", "'length'"];
const binary = ["+", "-", "*", "/", "//", "%", "**", "~", "==", "!=", "<", ">", "<=", ">=", "in", "not in",
    "and", "or"];
const calls = ["range(2)", "range(1, 5, 2)", "range(3, 0, -1)", "namespace(a=1)", "mm(1)", "mm(s, b=l)",
    "mm(b=1)", "mm(*l[:2])", "mm(**{'a': 5})"];
const gaps = ["", "", "", " ", "\n", "  \n", " \n  ", "\n\n", "x", "- y\n", "\t", "\n\t", "é "];

export function randomTemplates(seed, count) {
    const random = (n) => {
        seed ^= seed << 13;
        seed ^= seed >>> 17;
        seed ^= seed << 5;
        return (seed >>> 0) % n;
    };
    const pick = (list) => list[random(list.length)];
    const some = (n, make) => Array.from({ length: random(n) }, make);
    const gap = () => pick(gaps);
    const tag = (text) => pick(["{% ", "{% ", "{%- "]) + text + pick([" %}", " %}", " -%}"]);
    const print = (text) => pick(["{{ ", "{{ ", "{{- "]) + text + pick([" }}", " }}", " -}}"]);

    // Inside brackets the package takes a missing comma for a comma, so operators that could end a value
    // early are kept out of them.
    function expression(depth, inside) {
        if (depth <= 0 || random(7) === 0) {
            return pick([pick(names), pick(names), pick(names), pick(strings), pick(numbers), pick(constants)]);
        }
        const part = () => expression(depth - 1, inside), within = () => expression(depth - 1, true);
        switch (random(inside ? 10 : 13)) {
        case 0: return `${part()}|${pick(filters)}`;
        case 1: return `${part()}|${pick(filters)}`;
        case 2: return `${pick([...names, `(${within()})`])}.${pick(members)}`;
        case 3: return `${pick([...names, `(${within()})`])}[${pick(indices)}]`;
        case 4: return `(${part()})`;
        case 5: return `[${some(4, within).join(", ")}]`;
        case 6: return `{${some(3, () => `${pick(["'a'", "'b'", "'k'"])}: ${within()}`).join(", ")}}`;
        case 7: return pick(calls);
        case 8: return `(${within()}, ${within()})${pick(["", "|length", "[0]", "|join('-')"])}`;
        case 9: return `(${expression(depth - 1)} ${pick(binary)} ${expression(depth - 1)})`;
        case 10: return `${part()} ${pick(binary)} ${part()}`;
        case 11: return pick([`not ${part()}`, `- ${part()}`, `${part()} is ${pick(["", "not "])}${pick(tests)}`]);
        default: return `${part()} if ${part()}${pick(["", ` else ${part()}`])}`;
        }
    }

    function body(depth, loop) {
        return some(3, () => statement(depth - 1, loop)).join(gap());
    }

    function loopOver(depth) {
        const what = pick(["l", "ls", "lo", "o", "range(3)", "em", "nest.a.b", "l[1:]", "lo|selectattr('r')"]);
        const test = pick(["", "", ` if ${pick(["x", "x is string", "x != 1", "x in l"])}`]);
        const leave = tag(`if ${pick(["loop.last", "loop.index == 2", "x == 1"])}`) +
            tag(pick(["break", "continue"])) + tag("endif");
        return gap() + tag(`for x in ${what}${test}`) + gap() + body(depth, true) +
            pick(["", leave, "{{ loop.index }}{{ loop.last }}{{ x }}"]) + gap() +
            pick(["", tag("else") + "E" + body(depth, false)]) + tag("endfor") + gap();
    }

    function statement(depth, loop) {
        const value = expression(2);
        if (depth <= 0) {
            return gap() + print(value) + gap();
        }
        switch (random(10)) {
        case 0: return gap() + print(expression(3)) + gap();
        case 1: return gap() + tag(`if ${value}`) + gap() + body(depth, loop) + tag("endif") + gap();
        case 2: return gap() + tag(`if ${value}`) + body(depth, loop) + tag(`elif ${expression(2)}`) +
            gap() + body(depth, loop) + tag("else") + gap() + body(depth, loop) + tag("endif");
        case 3: return loopOver(depth);
        case 4: return gap() + tag(`for x, y in ${pick(["o.items()", "o|items", "pairs", "o|dictsort"])}`) +
            "{{ x }}={{ y }}" + body(depth, true) + tag("endfor");
        case 5: return gap() + tag(`set ${pick(["x", "y", "n", "ns"])} = ${value}`) + gap() + "{{ x }}";
        case 6: return gap() + tag("set y") + gap() + body(depth, false) + tag("endset") + "[{{ y }}]";
        case 7: return pick([`${gap()}{#${pick(["", "-"])} c ${pick(["", "-"])}#}${gap()}`,
            gap() + tag(`set ns = namespace(a=${value})`) + tag("set ns.a = ns.a ~ 'z'") + "{{ ns.a }}{{ ns }}"]);
        case 8: return gap() + tag(`filter ${pick(["upper", "trim", "indent(2)", "tojson"])}`) +
            body(depth, false) + tag("endfilter");
        default: return gap() + tag(`macro mm(a, b=${pick(["1", "a", "'d'", "none"])})`) + gap() +
            pick(["{{ a }}-{{ b }}", "{{ a }}{{ caller() if caller else '' }}"]) + tag("endmacro") +
            pick(["{{ mm(1) }}", tag("call mm(3)") + " body {{ x }}" + tag("endcall")]);
        }
    }

    return Array.from({ length: count }, () => ({
        template: random(3) > 0 ? Array.from({ length: 1 + random(3) }, () => statement(2, false)).join("")
            : print(expression(4)),
        given,
    }));
}
