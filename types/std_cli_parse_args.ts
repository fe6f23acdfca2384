// `@std/cli/parse-args` from the npm package deno-std, which carries it without types.
// @ts-types="./std_cli_parse_args.d.ts"
export { parseArgs } from "npm:deno-std@1.4.0/cli/parse_args.js";
export type { Args, ParseOptions } from "./std_cli_parse_args.d.ts";
