// `@std/path/posix/join` from the npm package deno-std, which carries it without types.
// @ts-types="./std_path_join.d.ts"
export { join } from "npm:deno-std@1.4.0/path/posix/join.js";
