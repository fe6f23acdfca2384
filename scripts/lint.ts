/// <reference lib="deno.unstable" />
/**
 * The rules of the project that one file alone can break, as a plugin of `deno
 * lint`. `imports.ts` holds those that need the graph.
 *
 * @module
 */

/** Where each rule applies, from a file's path inside the project. */
const shipped =
  /(^|\/)(host|ns|cni|recipes|plugins|ipam|meta|cli)\/[^_]|(^|\/)(registry|main)\.ts$/;
const plugin = /(^|\/)(plugins|ipam|meta)\//;
const test = /(_test\.ts$)|(^|\/)tests\//;
/** One place starts programs for the project, one those that it monitors, and one those of its tests. */
const spawner = /(^|\/)(host\/(spawn|monitor)|tests\/harness\/process)\.ts$/;

/** Longest function, in lines. */
export const longest = 40;

type Rule = Deno.lint.Rule;
type Node = { readonly range: readonly [number, number] };

function onlyIn(applies: (file: string) => boolean, create: Rule["create"]): Rule {
  return { create: (context) => applies(context.filename) ? create(context) : {} };
}

const literalImport: Rule = {
  create: (context) => ({
    ImportExpression(node) {
      if (node.source.type === "Literal") return;
      context.report({ node, message: "`import()` takes a literal, so that the bundle holds it" });
    },
  }),
};

const oneSpawner = onlyIn((file) => !spawner.test(file), (context) => ({
  "MemberExpression[object.name='Deno'][property.name='Command']"(node: Deno.lint.Node) {
    context.report({
      node,
      message: "programs are started by host/spawn.ts and host/monitor.ts alone",
    });
  },
}));

const noTry = onlyIn((file) => plugin.test(file) && !test.test(file), (context) => ({
  TryStatement(node) {
    context.report({
      node,
      message: "a plugin has no `try`: serve takes back what a failed verb has done",
    });
  },
}));

const noBarrel = onlyIn((file) => shipped.test(file) && !test.test(file), (context) => {
  const message = "no barrels: import the name from the file that defines it";
  return {
    ExportAllDeclaration: (node) => context.report({ node, message }),
    ExportNamedDeclaration(node) {
      if (node.source) context.report({ node, message });
    },
  };
});

const noNode: Rule = {
  create: (context) => {
    const check = (node: { source: { value?: unknown } | null } & Deno.lint.Node) => {
      if (!String(node.source?.value ?? "").startsWith("node:")) return;
      context.report({ node, message: "no `node:` imports: Deno's own API does it" });
    };
    return {
      ImportDeclaration: check,
      ExportAllDeclaration: check,
      ImportExpression: (node) => check(node as never),
    };
  },
};

const shortFunctions = onlyIn((file) => shipped.test(file) && !test.test(file), (context) => {
  const check = (node: Deno.lint.Node) => {
    const lines = countLines(context.sourceCode.text, node);
    if (lines <= longest) return;
    context.report({ node, message: `a function has at most ${longest} lines, this one ${lines}` });
  };
  return {
    FunctionDeclaration: check,
    FunctionExpression: check,
    ArrowFunctionExpression: check,
  };
});

function countLines(source: string, { range: [start, end] }: Node): number {
  return source.slice(start, end).split("\n").length;
}

const rules: Deno.lint.Plugin = {
  name: "denocni",
  rules: {
    "literal-import": literalImport,
    "one-spawner": oneSpawner,
    "no-try": noTry,
    "no-barrel": noBarrel,
    "no-node": noNode,
    "short-functions": shortFunctions,
  },
};

export default rules;
