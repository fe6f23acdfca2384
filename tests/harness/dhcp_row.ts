/**
 * dhcp's row: a network with a server, an agent, and containers.
 *
 * @module
 */
import type { Attachment } from "./attachment.ts";
import type { Sandbox } from "./sandbox.ts";
import {
  furnishContainer,
  joinContainer,
  joinLan,
  LeaseAgentProcess,
  socketOf,
} from "./dhcp_agent.ts";
import { Dnsmasq, subnet } from "./dhcp_server.ts";
import { succeed } from "./plugin.ts";

/** The rows of dhcp. */
export const dhcp = [{
  name: "dhcp: with an agent",
  type: "dhcp",
  kind: "ipam",
  needs: ["link:bridge", "link:veth", "tool:dnsmasq"],
  prepare: async (sandbox: Sandbox) => {
    await joinLan(sandbox);
    const pool = [subnet.first, "192.168.77.250"] as const;
    // Not where the state of the test is looked at: it changes by itself.
    const leases = `/run/${sandbox.dir.split("/").at(-1)}.leases`;
    await Dnsmasq.start(sandbox, { pool, leases, seconds: 3600 });
    await LeaseAgentProcess.start(sandbox, { flags: ["-timeout", "1s", "-resendtimeout", "10s"] });
    await joinContainer(sandbox);
  },
  furnish: furnishContainer,
  conf: (sandbox: Sandbox) => ({ ipam: { type: "dhcp", daemonSocketPath: socketOf(sandbox) } }),
  residue: ["leases", "lanPorts"],
  repeatable: true,
  damage: [{
    name: "lease given back",
    inflict: async (attachment: Attachment) => {
      await succeed(attachment.sandbox, attachment.call("DEL"));
    },
  }],
}] as const;
