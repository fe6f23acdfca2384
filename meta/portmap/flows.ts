/**
 * UDP flows that began before a change of mappings go on to their old destination
 * until conntrack forgets them. After a change it does, by their first destination.
 *
 * @module
 */
import type { Request } from "../../cni/plugin.ts";
import type { UdpFlows } from "../../host/conntrack.ts";
import { deleteAllUdp, deleteUdp, listUdp, parseUdp } from "../../host/conntrack.ts";
import type { Family, Ip } from "../../host/ip.ts";
import { sameIp } from "../../host/ip.ts";
import type { Reason } from "../../host/reason.ts";
import { hasTool } from "../../host/spawn.ts";
import type { Step } from "../../host/step.ts";
import type { Host } from "../../ns/machine.ts";
import { applyAssuming } from "../../recipes/netfilter.ts";
import type { Conf, Mapping } from "./conf.ts";
import { hasHostAddress, mappingsOf } from "./conf.ts";

/**
 * Forgets the flows to the mapped UDP ports. Starts nothing without such ports.
 * Where `conntrack` is missing it warns on stderr and succeeds.
 */
export async function flushUdpFlows(
  { conf, host }: Pick<Request<Conf>, "conf" | "host">,
  families: readonly Family[],
): Promise<void> {
  const flows = udpFlowsOf(conf.runtimeConfig.portMappings, families);
  if (flows.length === 0) return;
  if (!hasTool("conntrack")) {
    console.error(
      'portmap: Cannot forget UDP flows: program "conntrack" is missing; old ones may go astray',
    );
    return;
  }
  await forget(host, flows.length > 1 ? await present(host, flows) : flows);
}

/**
 * The wanted flows that exist. Each deletion goes through all flows of the host,
 * and one listing does so once for many ports.
 */
async function present(host: Host, wanted: readonly UdpFlows[]): Promise<UdpFlows[]> {
  const families = [...new Set(wanted.map(({ family }) => family))];
  const found: UdpFlows[] = [];
  for (const family of families) {
    const text = await host.query(listUdp(family), { why: "list UDP flows", tolerate: anything });
    found.push(
      ...matchingFlows(wanted.filter((one) => one.family === family), parseUdp(text ?? "")),
    );
  }
  return found;
}

/** The wanted flows that are among the listed ones. */
export function matchingFlows(
  wanted: readonly UdpFlows[],
  flows: readonly { readonly address: Ip; readonly port: number }[],
): UdpFlows[] {
  const byPort = Map.groupBy(flows, ({ port }) => port);
  return wanted.filter(({ port, address }) =>
    byPort.get(port)?.some((flow) => !address || sameIp(flow.address, address))
  );
}

async function forget(host: Host, flows: readonly UdpFlows[]): Promise<void> {
  if (flows.length === 0) return;
  await applyAssuming(host, {
    assumed: [{ why: "forget UDP flows", do: deleteAllUdp(flows) }],
    otherwise: () => host.apply(flows.map(oneByOne)),
  });
}

const anything: readonly Reason[] = ["missing", "exists", "unsupported", "other"];

/** conntrack-tools before 1.4.7 take one deletion at a time, and fail when there is nothing to delete. */
function oneByOne(flows: UdpFlows): Step {
  return { why: "forget UDP flows", do: deleteUdp(flows), tolerate: anything };
}

/** The flows of the UDP mappings of some families. */
export function udpFlowsOf(all: readonly Mapping[], families: readonly Family[]): UdpFlows[] {
  return families.flatMap((family) =>
    mappingsOf(all, family).filter(({ protocol }) => protocol === "udp").flatMap((mapping) =>
      Array.from({ length: mapping.host.last - mapping.host.first + 1 }, (_, index) => ({
        family,
        port: mapping.host.first + index,
        ...(hasHostAddress(mapping) && { address: mapping.hostIp }),
      }))
    )
  );
}
