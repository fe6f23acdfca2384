/**
 * A runtime over recording plugins, for tests.
 *
 * @module
 */
import type { Answers } from "./recorder.ts";
import { prints, Recorder } from "./recorder.ts";
import type { JsonObject } from "../../cni/types.ts";
import type { Attachment } from "../../cni/runtime/chain.ts";
import type { NetworkConfig, PluginConfig } from "../../cni/runtime/config.ts";
import { parseNetwork, parsePlugin } from "../../cni/runtime/config.ts";
import { createExecutor } from "../../cni/runtime/executor.ts";
import { Runtime } from "../../cni/runtime/runtime.ts";

/** Recording plugins, a cache of their own, and a runtime that uses both. */
export class Bench extends Recorder {
  readonly cacheDir: string = Deno.makeTempDirSync({ prefix: "cache-" });
  readonly runtime: Runtime = this.withDeadline(undefined);
  /** What plugins wrote to stderr. */
  stderr = "";

  withDeadline(deadline: number | undefined): Runtime {
    const stderr = (text: string) => void (this.stderr += text);
    const executor = createExecutor({ path: [this.dir], stderr, deadline });
    return new Runtime({ executor, cacheDir: this.cacheDir });
  }

  /** Names of the files of the cache. */
  cached(): string[] {
    try {
      return [...Deno.readDirSync(`${this.cacheDir}/results`)].map(({ name }) => name).sort();
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return [];
      throw error;
    }
  }

  /** Puts text where the attachment of a network is remembered. */
  plant(network: string, text: string): void {
    Deno.mkdirSync(`${this.cacheDir}/results`, { recursive: true });
    const { containerId, ifName } = attachment;
    Deno.writeTextFileSync(`${this.cacheDir}/results/${network}-${containerId}-${ifName}`, text);
  }

  override [Symbol.dispose](): void {
    super[Symbol.dispose]();
    Deno.removeSync(this.cacheDir, { recursive: true });
  }
}

/** The attachment of the tests. */
export const attachment: Attachment = {
  containerId: "some-container-id",
  netns: "/some/netns/path",
  ifName: "eth0",
  args: [["FOO", "BAR"]],
  capabilityArgs: {
    portMappings: [{ hostPort: 8080, containerPort: 80, protocol: "tcp" }],
    somethingElse: ["foobar", "baz"],
    otherCapability: 33,
    noCapability: true,
  },
};

/** A result of version 1.1.0. */
export const result: JsonObject = {
  cniVersion: "1.1.0",
  ips: [{ address: "10.1.2.3/24", gateway: "10.1.2.1" }],
};

/** The single plugin of the tests. */
export function single(keys: JsonObject = {}): PluginConfig {
  const config = {
    type: "noop",
    name: "apitest",
    cniVersion: "1.1.0",
    "some-key": "some-value",
    capabilities: { portMappings: true, somethingElse: true, noCapability: false },
    ...keys,
  };
  return parsePlugin(JSON.stringify(config));
}

/** A list of three plugins: the second and the third keep a written `prevResult`. */
export function network(keys: JsonObject = {}): NetworkConfig {
  return parseNetwork(JSON.stringify({
    name: "some-list",
    cniVersion: "1.1.0",
    plugins: [
      { type: "first", capabilities: { portMappings: true, otherCapability: true } },
      { type: "second", capabilities: { otherCapability: true }, prevResult: { written: 2 } },
      { type: "third", prevResult: { written: 3 } },
    ],
    ...keys,
  }));
}

/** Plugins for {@linkcode network}; the third adds a name server. */
export function addThree(bench: Bench, answers: Record<string, Answers> = {}): void {
  bench.add("first", { ADD: prints(result), ...answers.first });
  bench.add("second", { ADD: prints(result), ...answers.second });
  bench.add("third", { ADD: prints(withDns), ...answers.third });
}

/** {@linkcode result} as the third plugin changes it. */
export const withDns: JsonObject = { ...result, dns: { nameservers: ["1.2.3.4"] } };
