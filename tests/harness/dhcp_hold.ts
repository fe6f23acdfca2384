/**
 * Holds an exchange on `eth0` of a namespace, in a process that a test can kill:
 *
 *   deno run -A dhcp_hold.ts /run/netns/a
 *
 * @module
 */
import { holdExchange } from "../../ipam/dhcp/hold.ts";
import { programOf } from "../../ipam/dhcp/self.ts";
import { Machine } from "../../ns/machine.ts";

const program = programOf({
  execPath: Deno.execPath(),
  standalone: false,
  mainModule: new URL("../../main.ts", import.meta.url).href,
  env: (name) => Deno.env.get(name),
  isMissing: () => false,
});
const client = { clientId: Uint8Array.of(0, 49), requested: [1, 3], provided: new Map() };
const held = await holdExchange(new Machine(), {
  netns: { path: Deno.args[0]! },
  dev: "eth0",
  goal: { kind: "acquire" },
  client,
  within: 60_000,
  timeout: 1000,
}, { program });
console.log(held.kind);
