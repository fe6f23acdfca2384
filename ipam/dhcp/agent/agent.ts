/**
 * The lease agent: answers plugins, by attachment. An attachment has a lease of each family that its
 * configuration asks DHCP servers for: all of them, or none.
 *
 * @module
 */
import type { AttachmentKey, ContainerInterface } from "../../../cni/attachment_key.ts";
import type { Result } from "../../../cni/types.ts";
import type { CmdArgs } from "../rpc/cni_gob.ts";
import type { DenocniService } from "../rpc/denocni_service.ts";
import type { DhcpService } from "../rpc/dhcp_service.ts";
import type { AgentTools } from "./agent_tools.ts";
import type { LeaseRequest } from "./leases.ts";
import { staleOn } from "../../../cni/attachment_key.ts";
import { decodeOrThrow, isObject, lookup } from "../../../cni/decode.ts";
import { parseJson } from "../../../cni/json.ts";
import { checkContainerId, checkIfName, checkNetworkName } from "../../../cni/names.ts";
import { formatIp } from "../../../host/ip.ts";
import { sameNetns } from "../../../ns/netns.ts";
import { clientSettings } from "../conf/client_settings.ts";
import { confDecoder, dhcpFamilies, families } from "../conf/conf.ts";
import { allOrCancel } from "../lease/all_or_cancel.ts";
import { mergeResults, withFamilyLabel } from "../lease/dual_stack.ts";
import { familyOps } from "../lease/family.ts";
import { Leases } from "./leases.ts";

/** Milliseconds between the end of an acquisition and the time when the plugin stops waiting. */
const answerTime = 2000;

/** A lease in a list for people. Times are milliseconds since 1970; null means never. */
export interface ListedLease extends AttachmentKey {
  readonly address: string;
  readonly netns: string;
  readonly phase: string;
  readonly renewAt: number | null;
  readonly rebindAt: number | null;
  readonly expireAt: number | null;
}

/** All attachments of one agent. */
export class Agent implements DhcpService, DenocniService {
  readonly #tools: AgentTools;
  readonly #leases: Leases;

  constructor(tools: AgentTools) {
    this.#tools = tools;
    this.#leases = new Leases(tools);
  }

  /** Number of leases that are kept. */
  get size(): number {
    return this.#leases.keepers.length;
  }

  /** Goes on with the leases on the disk: keeps those in use, releases the others. */
  resume(): void {
    this.#leases.resume();
  }

  /** Looks at every lease, since namespaces end without notice. */
  sweep(): void {
    this.#leases.sweep();
  }

  /** Leaves every lease as it is and does nothing more. */
  async close(): Promise<void> {
    await this.#leases.close();
  }

  /**
   * Gets the leases of an attachment: the existing ones, or new ones. When one cannot be had, gives
   * back those that this call has acquired.
   */
  async allocate(args: CmdArgs, signal: AbortSignal): Promise<Result> {
    const requests = await this.#requestsOf(args);
    const acquired: string[] = [];
    const tasks = requests.map((one) => async (signal: AbortSignal) => {
      const { result, isNew } = await this.#leases.get(one, signal)
        .catch((error: Error) => {
          throw withFamilyLabel(one, error);
        });
      if (isNew) acquired.push(one.path);
      return result;
    });
    const results = await allOrCancel(tasks, { signal }).catch(async (error) => {
      await Promise.all(acquired.map((path) => this.#leases.giveUp(path)));
      throw error;
    });
    return mergeResults(results);
  }

  /** Gives the leases of an attachment up; there may be none. */
  async release(args: CmdArgs): Promise<void> {
    const { attachment } = this.#attachmentOf(args);
    const { store } = this.#tools;
    const paths = await Promise.all(
      families.map((family) => store.pathOf(attachment, family)),
    );
    await Promise.all(paths.map((path) => this.#leases.giveUp(path)));
  }

  /** Gives the leases of an attachment. Throws when one is missing or may not be used there. */
  async check(args: CmdArgs): Promise<Result> {
    const requests = await this.#requestsOf(args);
    return mergeResults(requests.map((one) => this.#checked(one)));
  }

  #checked(request: LeaseRequest & { readonly label: string }): Result {
    const keeper = this.#leases.keeperOf(request.path);
    const { ifName, containerId } = request.attachment;
    const what = `lease of "${ifName}" of container "${containerId}"`;
    const cannot = (text: string) => withFamilyLabel(request, new Error(text));
    if (!keeper) throw cannot(`Cannot find a ${what}: the lease agent keeps none`);
    if (!keeper.isValid) throw cannot(`Cannot use the ${what}: it has ended`);
    if (!sameNetns(keeper.record.identity, request.identity)) {
      throw cannot(`Cannot use the ${what}: it is for another namespace`);
    }
    return keeper.result;
  }

  /** Gives up every lease of a network that belongs to none of these attachments. */
  async gc(network: string, valid: readonly ContainerInterface[]): Promise<void> {
    await this.#leases.giveUpAll(staleOn(network, valid));
  }

  /** Lists every lease that is kept. */
  list(): ListedLease[] {
    const time = (value: number) => Number.isFinite(value) ? value : null;
    return this.#leases.keepers.map(({ record, phase }) => ({
      network: record.network,
      containerId: record.containerId,
      ifName: record.ifName,
      address: formatIp(familyOps(record.family).addressOf(record.lease.ack)),
      netns: record.netns,
      phase,
      renewAt: time(record.lease.renewAt),
      rebindAt: time(record.lease.rebindAt),
      expireAt: time(record.lease.expireAt),
    }));
  }

  async #requestsOf(args: CmdArgs): Promise<(LeaseRequest & { readonly label: string })[]> {
    const { inspect, hostPrefix, broadcast, store } = this.#tools;
    const { attachment, config } = this.#attachmentOf(args);
    const conf = decodeOrThrow(confDecoder, config, "network configuration");
    const netns = `${hostPrefix}${args.netns}`;
    const state = inspect(netns);
    if (state.is !== "namespace") {
      const what = state.is === "missing" ? "no such file" : state.what;
      throw new Error(`Cannot use network namespace "${netns}": ${what}`);
    }
    const within = conf.timeout - answerTime;
    const place = { attachment, netns, identity: state.identity, within };
    return await Promise.all(
      dhcpFamilies(conf).map(async ({ family, label }) => ({
        ...place,
        family,
        label,
        path: await store.pathOf(attachment, family),
        client: await clientSettings(conf, { family, attachment, args: args.args, broadcast }),
      })),
    );
  }

  #attachmentOf({ containerID, ifname, stdin }: CmdArgs) {
    const config = parseJson(new TextDecoder().decode(stdin));
    if (!isObject(config)) throw new Error("Cannot use network configuration: it is no object");
    const attachment = {
      network: String(lookup(config, "name") ?? ""),
      containerId: containerID,
      ifName: ifname,
    };
    checkNetworkName(attachment.network);
    checkContainerId(containerID);
    checkIfName(ifname);
    return { attachment, config };
  }
}
