/**
 * conntrack: forgetting flows whose packets must be looked at afresh.
 *
 * @module
 */
import type { Command } from "./command.ts";
import { command } from "./command.ts";
import type { Family, Ip } from "./ip.ts";
import { formatIp, parseIp } from "./ip.ts";

/** The UDP flows that were first sent to this port, of one address or of any. */
export interface UdpFlows {
  /** Family of the addresses. */
  readonly family: Family;
  /** Destination port of the first direction. */
  readonly port: number;
  /** Destination address of the first direction; any when absent. */
  readonly address?: Ip | undefined;
}

/** `conntrack -D -f ipv4 -p udp --orig-port-dst PORT [--orig-dst ADDRESS]`: fails when there is none. */
export function deleteUdp(flows: UdpFlows): Command {
  return command("conntrack", deletionWords(flows));
}

/**
 * `conntrack -R -`, with one line for each of the flows: one process for all,
 * which does not mind when there are none. conntrack-tools from 1.4.7.
 */
export function deleteAllUdp(flows: readonly UdpFlows[]): Command {
  if (flows.length === 0) {
    throw new RangeError("Cannot delete flows: none are named");
  }
  const lines = flows.map((flow) => `${deletionWords(flow).join(" ")}\n`);
  return command("conntrack", ["-R", "-"], { stdin: lines.join("") });
}

/** `conntrack -L -f ipv4 -p udp` */
export function listUdp(family: Family): Command {
  return command("conntrack", ["-L", "-f", familyWord(family), "-p", "udp"]);
}

/** Reads the first destination of each flow from the output of {@linkcode listUdp}. */
export function parseUdp(text: string): { readonly address: Ip; readonly port: number }[] {
  return text.split("\n").flatMap((line) => {
    // The second direction's words come later in the line.
    const [, dst = "", dport] = /^udp .*? dst=(\S+) .*?\bdport=(\d+)/.exec(line) ?? [];
    const address = parseIp(dst);
    return address ? [{ address, port: Number(dport) }] : [];
  });
}

function familyWord(family: Family): "ipv4" | "ipv6" {
  return family === 4 ? "ipv4" : "ipv6";
}

/** A deletion always names family, protocol and port: a wider one would cut foreign connections. */
function deletionWords({ family, port, address }: UdpFlows): string[] {
  if (!Number.isInteger(port) || port < 1 || port > 65535) {
    throw new RangeError(`Cannot delete flows to port "${port}": no such port`);
  }
  return [
    ...["-D", "-f", familyWord(family), "-p", "udp"],
    ...["--orig-port-dst", String(port)],
    ...(address ? ["--orig-dst", formatIp(address)] : []),
  ];
}
