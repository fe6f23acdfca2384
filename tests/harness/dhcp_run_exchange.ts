/**
 * Runs an exchange on `eth0` of a namespace, in a process that a test can kill:
 *
 *   deno run -A dhcp_run_exchange.ts /run/netns/a
 *
 * @module
 */
import { runExchange4 } from "../../ipam/dhcp/exchange/run_exchange4.ts";
import { Machine } from "../../ns/machine.ts";
import { client, program } from "./dhcp_exchange.ts";

const result = await runExchange4(new Machine(), {
  netns: { path: Deno.args[0]! },
  dev: "eth0",
  goal: { kind: "acquire" },
  client,
  within: 60_000,
  timeout: 1000,
}, { program });
console.log(result.kind);
