/**
 * The runtime's side of the protocol: runs the plugins of a network for an
 * attachment, in order or in reverse, and remembers results (specification
 * section 3; behaviour and message texts as libcni's).
 *
 * It takes no lock: two operations for one container, or a GC beside an ADD or
 * DEL of the same network, are the caller's to keep apart. A failed ADD is not
 * taken back: the caller calls {@linkcode Runtime.del} for the whole network.
 *
 * @module
 */
import { CniError, codes, toCniError } from "../error.ts";
import type { AttachmentKey, ContainerInterface } from "../attachment_key.ts";
import { staleOn } from "../attachment_key.ts";
import type { Json, JsonObject } from "../types.ts";
import { atLeast, oldest } from "../version.ts";
import { Cache } from "./cache.ts";
import type { Attachment, Chain } from "./chain.ts";
import {
  addOne,
  allows,
  attachmentCall,
  chainOf,
  chainOfOne,
  checkNames,
  declared,
  described,
  keyOf,
  networkCall,
  requestConfig,
} from "./chain.ts";
import type { NetworkConfig, PluginConfig } from "./config.ts";
import { CheckNotSupportedError, join, wrap } from "./errors.ts";
import type { Executor } from "./executor.ts";
import type { Repaired } from "./repair.ts";
import { repairChain } from "./repair.ts";

/** Options of a runtime. */
export interface RuntimeOptions {
  /** Finds and calls plugins. */
  readonly executor: Executor;
  /** Directory of the cache; `/var/lib/cni` when absent. */
  readonly cacheDir?: string | undefined;
  /** Keep no results: what the executor does is a dry run. */
  readonly dryRun?: boolean | undefined;
}

/** How an attachment is removed. */
export interface DelOptions {
  /**
   * Go on with the other plugins after one has failed. libcni stops, because an
   * address released too early could be handed out again while rules that name
   * it still stand.
   */
  readonly bestEffort?: boolean;
}

/** Adds, checks and removes attachments. */
export class Runtime {
  /** Attachments as they were at their ADD. */
  readonly cache: Cache;
  readonly #executor: Executor;
  readonly #dryRun: boolean;

  /** Touches nothing. */
  constructor({ executor, cacheDir, dryRun = false }: RuntimeOptions) {
    this.#executor = executor;
    this.#dryRun = dryRun;
    this.cache = new Cache(cacheDir);
  }

  /** Runs ADD of every plugin in order. Gives the last one's result in the version it has. */
  add(network: NetworkConfig, attachment: Attachment): Promise<JsonObject> {
    return this.#add(chainOf(network), attachment);
  }

  /** {@linkcode Runtime.add} of a single plugin. */
  addPlugin(plugin: PluginConfig, attachment: Attachment): Promise<JsonObject> {
    return this.#add(chainOfOne(plugin), attachment);
  }

  /**
   * Runs CHECK of every plugin in order with the remembered result. Throws
   * {@linkcode CheckNotSupportedError} for a version below 0.4.0.
   */
  check(network: NetworkConfig, attachment: Attachment): Promise<void> {
    return this.#check(chainOf(network), attachment, network.disableCheck);
  }

  /** {@linkcode Runtime.check} of a single plugin. */
  checkPlugin(plugin: PluginConfig, attachment: Attachment): Promise<void> {
    return this.#check(chainOfOne(plugin), attachment, false);
  }

  /**
   * Puts back what others have taken away of an attachment outside of its container,
   * with the remembered result. Throws when there is none.
   */
  async repair(network: NetworkConfig, attachment: Attachment): Promise<Repaired[]> {
    const chain = chainOf(network);
    const prevResult = this.#rememberedOrThrow(chain, attachment);
    if (prevResult) {
      return await repairChain(this.#executor, { chain, attachment, prevResult });
    }
    throw new CniError(
      codes.unknownContainer,
      `Cannot repair attachment of container "${attachment.containerId}" to network "${chain.name}": no result is remembered`,
    );
  }

  /**
   * Runs DEL of every plugin in reverse with the remembered result, and forgets
   * the attachment. A remembered result that cannot be read does not hinder it.
   * After a failure the attachment is still remembered, for a second attempt.
   */
  del(network: NetworkConfig, attachment: Attachment, options: DelOptions = {}): Promise<void> {
    return this.#del(chainOf(network), attachment, options);
  }

  /** {@linkcode Runtime.del} of a single plugin. */
  delPlugin(plugin: PluginConfig, attachment: Attachment): Promise<void> {
    return this.#del(chainOfOne(plugin), attachment, {});
  }

  /**
   * Removes every remembered attachment of the network that is not listed, then
   * (from 1.1.0 on) runs GC of every plugin. Goes on after failures and throws
   * them together.
   */
  async gc(network: NetworkConfig, valid: readonly ContainerInterface[]): Promise<void> {
    if (network.disableGC) return;
    const failures = await this.#removeStale(network, valid);
    if (allows(network, "1.1.0")) {
      const listed = valid.map(toProtocol);
      const keys = { "cni.dev/valid-attachments": listed, "cni.dev/attachments": listed };
      for (const plugin of network.plugins) {
        await collect(failures, `failed to GC plugin ${plugin.type}: `, async () => {
          const found = await this.#executor.find(plugin.type);
          await found.call(networkCall("GC", requestConfig(plugin, network, keys)));
        });
      }
    }
    if (failures.length > 0) throw join(failures);
  }

  /** Runs STATUS of every plugin (from 1.1.0 on) up to the first failure, which is thrown as it is. */
  async status(network: NetworkConfig): Promise<void> {
    if (!allows(network, "1.1.0")) return;
    for (const plugin of network.plugins) {
      const found = await this.#executor.find(plugin.type);
      await found.call(networkCall("STATUS", requestConfig(plugin, network, {})));
    }
  }

  /**
   * Whether every plugin is found and supports the network's version. Gives the
   * capabilities that the plugins declare.
   */
  async validate(network: NetworkConfig): Promise<string[]> {
    const failures: CniError[] = [];
    for (const plugin of network.plugins) {
      await collect(failures, "", () => this.#requireVersion(plugin, network.cniVersion));
    }
    if (failures.length > 0) {
      const { code } = failures[0]!;
      throw new CniError(code, `[${failures.map(({ message }) => message).join(" ")}]`);
    }
    return [...new Set(network.plugins.flatMap(declared))];
  }

  /** {@linkcode Runtime.validate} of a single plugin. */
  async validatePlugin(plugin: PluginConfig): Promise<string[]> {
    await this.#requireVersion(plugin, plugin.cniVersion);
    return declared(plugin);
  }

  /** Versions of the protocol that a plugin supports. */
  async versions(type: string): Promise<readonly string[]> {
    return await (await this.#executor.find(type)).versions();
  }

  async #requireVersion(plugin: PluginConfig, version: string): Promise<void> {
    const wanted = version || oldest;
    if ((await this.versions(plugin.type)).includes(wanted)) return;
    throw new CniError(
      codes.incompatibleVersion,
      `plugin ${plugin.type} does not support config version ${JSON.stringify(wanted)}`,
    );
  }

  async #add(chain: Chain, attachment: Attachment): Promise<JsonObject> {
    let result: JsonObject | undefined;
    for (const plugin of chain.plugins) {
      const prevResult = result;
      result = await described(chain, plugin, "add", async () => {
        const found = await this.#executor.find(plugin.type);
        checkNames(chain, attachment);
        return await addOne(found, { chain, plugin, attachment, prevResult });
      });
    }
    if (!result) throw new CniError(codes.invalidNetworkConfig, "no plugin configs found");
    if (!this.#dryRun) this.#remember(chain, attachment, result);
    return result;
  }

  #remember(chain: Chain, attachment: Attachment, result: JsonObject): void {
    const { args = [], capabilityArgs = {}, containerId, ifName, netns } = attachment;
    const key = { network: chain.name, containerId, ifName };
    try {
      this.cache.write({ ...key, netns, args, capabilityArgs, config: chain.text, result });
    } catch (error) {
      throw wrap(`failed to set network ${JSON.stringify(chain.name)} cached result: `, error);
    }
  }

  async #check(chain: Chain, attachment: Attachment, disabled: boolean): Promise<void> {
    if (!atLeast(chain.cniVersion, "0.4.0")) throw new CheckNotSupportedError(chain.cniVersion);
    if (disabled) return;
    const prevResult = this.#rememberedOrThrow(chain, attachment);
    for (const plugin of chain.plugins) {
      const found = await this.#executor.find(plugin.type);
      checkNames(chain, attachment);
      await found.call(attachmentCall("CHECK", { chain, plugin, attachment, prevResult }));
    }
  }

  #rememberedOrThrow(chain: Chain, attachment: Attachment): JsonObject | undefined {
    try {
      return this.cache.result(keyOf(chain, attachment), chain.cniVersion);
    } catch (error) {
      throw wrap(`failed to get network ${JSON.stringify(chain.name)} cached result: `, error);
    }
  }

  async #del(
    chain: Chain,
    attachment: Attachment,
    { bestEffort = false }: DelOptions,
  ): Promise<void> {
    const remembers = atLeast(chain.cniVersion, "0.4.0");
    const prevResult = remembers ? this.#rememberedOrForget(chain, attachment) : undefined;
    const failures: CniError[] = [];
    for (const plugin of chain.plugins.toReversed()) {
      await collect(failures, "", () =>
        described(chain, plugin, "delete", async () => {
          const found = await this.#executor.find(plugin.type);
          await found.call(attachmentCall("DEL", { chain, plugin, attachment, prevResult }));
        }));
      if (failures.length > 0 && !bestEffort) break;
    }
    if (failures.length > 0) throw join(failures);
    this.#forget(keyOf(chain, attachment));
  }

  #rememberedOrForget(chain: Chain, attachment: Attachment): JsonObject | undefined {
    const key = keyOf(chain, attachment);
    try {
      return this.cache.result(key, chain.cniVersion);
    } catch {
      this.#forget(key);
      return undefined;
    }
  }

  #forget(key: AttachmentKey): void {
    if (this.#dryRun) return;
    try {
      this.cache.remove(key);
    } catch {
      // Nothing is attached any more; what is remembered wrongly does not matter.
    }
  }

  /** Runs DEL for remembered attachments that are not listed; gives the failures. */
  async #removeStale(
    network: NetworkConfig,
    valid: readonly ContainerInterface[],
  ): Promise<CniError[]> {
    const failures: CniError[] = [];
    const stale = staleOn(network.name, valid);
    for (const found of this.cache.attachments()) {
      if (!stale(found)) continue;
      const { containerId, ifName } = found;
      const prefix = `failed to delete stale attachment ${containerId} ${ifName}: `;
      await collect(failures, prefix, () => this.del(network, found));
    }
    return failures;
  }
}

/** An attachment as GC lists it. */
function toProtocol({ containerId, ifName }: ContainerInterface): Json {
  return { containerID: containerId, ifname: ifName };
}

async function collect(
  failures: CniError[],
  prefix: string,
  work: () => Promise<void>,
): Promise<void> {
  try {
    await work();
  } catch (error) {
    failures.push(prefix ? wrap(prefix, error) : toCniError(error));
  }
}
