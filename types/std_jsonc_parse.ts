// `@std/jsonc/parse` from the npm package deno-std, which carries it without types.
// @ts-types="./std_jsonc_parse.d.ts"
export { parse } from "npm:deno-std@1.4.0/jsonc/parse.js";
