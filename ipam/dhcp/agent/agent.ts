/**
 * The lease agent: what plugins ask of it, by attachment. An attachment has a lease for each family
 * that its configuration wants of DHCP: all of them, or none.
 *
 * @module
 */
import type { AttachmentKey, ContainerInterface } from "../../../cni/attachment_key.ts";
import { staleOn } from "../../../cni/attachment_key.ts";
import type { Result } from "../../../cni/types.ts";
import type { AllocateArgs, LeaseAgent } from "../rpc/dhcp_service.ts";
import type { AgentTools, Wanted } from "./leases.ts";
import type { OwnAgent } from "../rpc/denocni_service.ts";
import { decodeOrThrow, isObject, lookup } from "../../../cni/decode.ts";
import { parseJson } from "../../../cni/json.ts";
import { checkContainerId, checkIfName, checkNetworkName } from "../../../cni/names.ts";
import { formatIp } from "../../../host/ip.ts";
import { sameNetns } from "../../../ns/netns.ts";
import { questionOf } from "../conf/client_settings.ts";
import { confDecoder, familiesOf } from "../conf/conf.ts";
import { families } from "../lease/lease_record.ts";
import { kinOf } from "../lease/family.ts";
import { Leases } from "./leases.ts";
import { mergeResults, named } from "../lease/dual_stack.ts";
import { together } from "../lease/all_or_cancel.ts";

/** Milliseconds that are left to answer a plugin in, before it waits no longer. */
const answering = 2000;

/** A lease as people see it. Times are milliseconds since 1970; none is without an end. */
export interface Listed extends AttachmentKey {
  readonly address: string;
  readonly netns: string;
  readonly phase: string;
  readonly renewAt: number | null;
  readonly rebindAt: number | null;
  readonly expireAt: number | null;
}

/** All attachments of one agent. */
export class Agent implements LeaseAgent, OwnAgent {
  readonly #tools: AgentTools;
  readonly #leases: Leases;

  constructor(tools: AgentTools) {
    this.#tools = tools;
    this.#leases = new Leases(tools);
  }

  /** Leases that are kept. */
  get size(): number {
    return this.#leases.keepers.length;
  }

  /** Goes on with what an agent before has left: keeps what lives, releases what is gone. */
  resume(): void {
    this.#leases.resume();
  }

  /** Looks at every lease: namespaces end without a word. */
  sweep(): void {
    this.#leases.sweep();
  }

  /** Leaves every lease as it is and does nothing more. */
  async close(): Promise<void> {
    await this.#leases.close();
  }

  /**
   * The leases of an attachment: those that it has, or new ones. Where one cannot be had, those that
   * this call has brought are given back.
   */
  async allocate(args: AllocateArgs, signal: AbortSignal): Promise<Result> {
    const wanted = await this.#wanted(args);
    const brought: string[] = [];
    const parts = wanted.map((one) => async (signal: AbortSignal) => {
      const { result, isNew } = await this.#leases.get(one, signal)
        .catch((error: Error) => {
          throw named(one, error);
        });
      if (isNew) brought.push(one.path);
      return result;
    });
    const results = await together(parts, { signal }).catch(async (error) => {
      await Promise.all(brought.map((path) => this.#leases.giveUp(path)));
      throw error;
    });
    return mergeResults(results);
  }

  /** Gives the leases of an attachment up; there may be none. */
  async release(args: AllocateArgs): Promise<void> {
    const { attachment } = this.#named(args);
    const { store } = this.#tools;
    const paths = await Promise.all(families.map((family) => store.pathOf(attachment, family)));
    await Promise.all(paths.map((path) => this.#leases.giveUp(path)));
  }

  /** The leases of an attachment. Throws when one is missing, or may not be used there. */
  async check(args: AllocateArgs): Promise<Result> {
    const wanted = await this.#wanted(args);
    return mergeResults(wanted.map((one) => this.#checked(one)));
  }

  #checked(wanted: Wanted & { readonly label: string }): Result {
    const keeper = this.#leases.kept(wanted.path);
    const { ifName, containerId } = wanted.attachment;
    const what = `lease of "${ifName}" of container "${containerId}"`;
    const cannot = (text: string) => named(wanted, new Error(text));
    if (!keeper) throw cannot(`Cannot find a ${what}: the lease agent keeps none`);
    if (!keeper.holds) throw cannot(`Cannot use the ${what}: it has ended`);
    if (!sameNetns(keeper.entry.identity, wanted.identity)) {
      throw cannot(`Cannot use the ${what}: it is for another namespace`);
    }
    return keeper.result;
  }

  /** Gives up every lease of a network that belongs to none of these attachments. */
  async gc(network: string, valid: readonly ContainerInterface[]): Promise<void> {
    await this.#leases.giveUpAll(staleOn(network, valid));
  }

  /** Every lease that is kept. */
  list(): Listed[] {
    const time = (value: number) => Number.isFinite(value) ? value : null;
    return this.#leases.keepers.map(({ entry, phase }) => ({
      network: entry.network,
      containerId: entry.containerId,
      ifName: entry.ifName,
      address: formatIp(kinOf(entry.family).addressOf(entry.lease.ack)),
      netns: entry.netns,
      phase,
      renewAt: time(entry.lease.renewAt),
      rebindAt: time(entry.lease.rebindAt),
      expireAt: time(entry.lease.expireAt),
    }));
  }

  async #wanted(args: AllocateArgs): Promise<(Wanted & { readonly label: string })[]> {
    const { inspect, hostPrefix, broadcast, store } = this.#tools;
    const { attachment, config } = this.#named(args);
    const conf = decodeOrThrow(confDecoder, config, "network configuration");
    const netns = `${hostPrefix}${args.netns}`;
    const state = inspect(netns);
    if (state.is !== "namespace") {
      const what = state.is === "missing" ? "no such file" : state.what;
      throw new Error(`Cannot use network namespace "${netns}": ${what}`);
    }
    const within = conf.timeout - answering;
    const place = { attachment, netns, identity: state.identity, within };
    return await Promise.all(
      familiesOf(conf).map(async ({ family, label }) => ({
        ...place,
        family,
        label,
        path: await store.pathOf(attachment, family),
        ask: await questionOf(conf, { family, attachment, args: args.args, broadcast }),
      })),
    );
  }

  #named({ containerID, ifname, stdin }: AllocateArgs) {
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
