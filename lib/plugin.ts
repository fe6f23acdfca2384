/**
 * What a plugin is written with: its definition and its executed form, decoders of
 * configurations, results and errors of the protocol, delegation, and the recipes that
 * the plugins of this project share.
 *
 * @example Decode a configuration, and see every mistake at once
 * ```ts
 * import { assertEquals, assertThrows } from "@std/assert";
 * import {
 *   CniError,
 *   decodeOrThrow,
 *   integer,
 *   ipamDecoder,
 *   object,
 *   required,
 *   withDefault,
 * } from "@denocni/denocni/plugin";
 *
 * const conf = object({
 *   mtu: required(integer({ min: 68, max: 65535 }), "MTU in bytes."),
 *   ipam: withDefault(ipamDecoder, { type: "" }, "IPAM plugin and its options."),
 * });
 * assertEquals(decodeOrThrow(conf, { mtu: 1400 }, "configuration").ipam, { type: "" });
 * assertThrows(
 *   () => decodeOrThrow(conf, { mtu: 0, ipam: "host-local" }, "configuration"),
 *   CniError,
 *   "mtu: expected integer 68–65535 but received 0; ipam: expected",
 * );
 * ```
 *
 * @example Give the parts of an attachment their names
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { describe } from "@denocni/denocni/host";
 * import { createVeth, attachmentNames } from "@denocni/denocni/plugin";
 *
 * const own = await attachmentNames({ network: "pods", containerId: "c1", ifName: "eth0" });
 * const netns = { path: "/run/netns/c1" };
 * const [create, mark] = createVeth({ own, netns, ifName: "eth0", mtu: 0 });
 * assertEquals(describe(create!.undo!), `ip link del dev ${own.hostVeth}`);
 * assertEquals(describe(mark!.do), `ip link set dev ${own.hostVeth} alias cni:pods/c1/eth0`);
 * ```
 *
 * @module
 */
export * from "../cni/args.ts";
export * from "../cni/attachment_key.ts";
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
export * from "../recipes/links.ts";
export * from "../recipes/mac.ts";
export * from "../recipes/masquerade.ts";
export type { MasqueradeOwner } from "../recipes/masquerade/driver.ts";
export * from "../recipes/master.ts";
export type { Backend } from "../recipes/backend.ts";
export * from "../recipes/attachment.ts";
export * from "../recipes/record.ts";
export * from "../recipes/removal.ts";
export * from "../recipes/status.ts";
export * from "../recipes/veth.ts";
