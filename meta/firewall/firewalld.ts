/**
 * The back end firewalld: a call on the system bus for each address makes it a
 * source of a zone.
 *
 * @module
 */
import { CniError, codes } from "../../cni/error.ts";
import type { Command } from "../../host/command.ts";
import { command } from "../../host/command.ts";
import type { Cidr } from "../../host/ip.ts";
import { formatCidr } from "../../host/ip.ts";
import { hasTool } from "../../host/spawn.ts";
import type { Step } from "../../host/step.ts";
import type { Host } from "../../ns/machine.ts";
import { addByChoice, checkByChoice, chooseBackend } from "../../recipes/backend.ts";
import { requireTools } from "../../recipes/status.ts";
import type { FirewallBackend } from "./conf.ts";
import type { FirewallDriver, FirewallRemoval, FirewallRequest } from "./driver.ts";
import { ingressByIptables } from "./iptables.ts";
import { ingressByNftables } from "./nftables.ts";

const busName = "org.fedoraproject.FirewallD1";

/** Socket of the system bus. */
const busSocket = "/run/dbus/system_bus_socket";

/** The back end firewalld. */
export const firewallByFirewalld: FirewallDriver = { add, helpers, check, del, status };

/** Back ends for policies between bridges, which firewalld has none of. */
const ingressDrivers = { iptables: ingressByIptables, nftables: ingressByNftables } as const;

/** `busctl --system --auto-start=no call DEST PATH INTERFACE.zone METHOD ss ZONE ADDRESS` */
export function zoneCall(
  method: "addSource" | "querySource" | "removeSource",
  { zone, address }: { readonly zone: string; readonly address: string },
): Command {
  return command("busctl", [
    "--system",
    "--auto-start=no",
    "call",
    busName,
    "/org/fedoraproject/FirewallD1",
    `${busName}.zone`,
    method,
    "ss",
    zone,
    address,
  ]);
}

/** Whether firewalld is on the bus. Starts nothing where there is no bus. */
export async function isFirewalldRunning(host: Host): Promise<boolean> {
  if (!hasTool("busctl") || !await hasBus()) return false;
  const name = "org.freedesktop.DBus";
  const asked = command("busctl", [
    "--system",
    "call",
    name,
    "/org/freedesktop/DBus",
    name,
    "GetNameOwner",
    "s",
    busName,
  ]);
  const owner = await host.query(asked, {
    why: "ask whether firewalld runs",
    tolerate: ["missing", "denied", "other"],
  });
  return owner !== undefined;
}

function hasBus(): Promise<boolean> {
  return Deno.stat(busSocket).then(() => true, () => false);
}

async function add(req: FirewallRequest): Promise<readonly Cidr[]> {
  const { host, conf, addresses, ingress } = req;
  await host.apply(planSources({ addresses: addresses.map(formatCidr), conf }));
  if (ingress) {
    await addByChoice(chooseBackend(undefined), {
      addresses,
      add: (backend, request) => ingressDrivers[backend].add(req, request),
    });
  }
  return [];
}

/** One step for each address. A rollback leaves an address that the zone had before. */
export function planSources(
  { addresses, conf: { firewalldZone: zone } }: {
    readonly addresses: readonly string[];
    readonly conf: { readonly firewalldZone: string };
  },
): Step[] {
  return addresses.map((address) => ({
    why: `add the address ${address} to ${zone} zone`,
    do: zoneCall("addSource", { zone, address }),
    undo: zoneCall("removeSource", { zone, address }),
    tolerate: ["exists"],
  }));
}

/** For an isolated bridge nftables has elements of the attachment's own, its ports. */
function helpers({ ingress }: FirewallRequest): readonly FirewallBackend[] {
  return ingress?.policy === "isolated" && hasTool("nft") ? ["nftables"] : [];
}

async function check(req: FirewallRequest): Promise<string[]> {
  const { host, conf: { firewalldZone: zone }, ingress } = req;
  const problems: string[] = [];
  for (const address of req.addresses.map(formatCidr)) {
    const why = `find the address ${address} in ${zone} zone`;
    const answer = await host.query(zoneCall("querySource", { zone, address }), {
      why,
      tolerate: ["missing"],
    });
    // busctl prints the type and the value: `b true`.
    if (answer?.trim() !== "b true") problems.push(`address ${address} is not in ${zone} zone`);
  }
  if (!ingress) return problems;
  const ingressProblems = await checkByChoice(
    chooseBackend(undefined),
    (backend) => ingressDrivers[backend].check(req),
  );
  return [...problems, ...ingressProblems];
}

async function del(host: Host, { addresses, zone }: FirewallRemoval): Promise<void> {
  if (addresses.length === 0 || !await isFirewalldRunning(host)) return;
  await host.apply(
    addresses.map(formatCidr).map((address) => ({
      why: `remove the address ${address} from ${zone} zone`,
      do: zoneCall("removeSource", { zone, address }),
      tolerate: ["missing"],
    })),
  );
}

async function status(host: Host): Promise<void> {
  requireTools(["busctl"]);
  if (await isFirewalldRunning(host)) return;
  throw new CniError(
    codes.notAvailable,
    `Cannot serve ADD: firewalld is not running: nobody owns "${busName}" on the system bus`,
  );
}
