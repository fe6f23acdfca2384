/**
 * What plugins are tested with where there is no kernel: a host that answers from a
 * script and records plans, and calls in process.
 *
 * @module
 */
export * from "../cni/testing.ts";
export * from "../ns/testing.ts";
