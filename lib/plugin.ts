/**
 * What a plugin is written with: its definition and its executed form, decoders of
 * configurations, results and errors of the protocol, delegation, and the recipes that
 * the plugins of this project share.
 *
 * @module
 */
export * from "../cni/args.ts";
export * from "../cni/decode.ts";
export * from "../cni/error.ts";
export * from "../cni/names.ts";
export * from "../cni/permissions.ts";
export * from "../cni/plugin.ts";
export * from "../cni/request.ts";
export * from "../cni/result.ts";
export * from "../cni/sections.ts";
export { handle, serve } from "../cni/serve.ts";
export type { Input, Outcome } from "../cni/serve.ts";
export * from "../cni/types.ts";
export * from "../cni/version.ts";
export * from "../recipes/chained.ts";
export * from "../recipes/check.ts";
export * from "../recipes/configure.ts";
export * from "../recipes/container.ts";
export * from "../recipes/container_link.ts";
export * from "../recipes/dns.ts";
export * from "../recipes/forwarding.ts";
export * from "../recipes/ipam.ts";
export * from "../recipes/look.ts";
export * from "../recipes/mac.ts";
export * from "../recipes/masquerade.ts";
export * from "../recipes/master.ts";
export type { Backend } from "../recipes/netfilter.ts";
export * from "../recipes/own.ts";
export * from "../recipes/record.ts";
export * from "../recipes/removal.ts";
export * from "../recipes/status.ts";
export * from "../recipes/veth.ts";
