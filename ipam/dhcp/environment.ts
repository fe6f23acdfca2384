/**
 * What the plugin works with, for a test to choose otherwise.
 *
 * @module
 */
import type { releaseFromHost, runExchange4 } from "./exchange/run_exchange4.ts";
import type { runExchange6 } from "./exchange/run_exchange6.ts";
import { leaseFolder } from "./lease/lease_files.ts";

/** The folder of leases, and how exchanges are run: on this host where they are absent. */
export interface Environment {
  /** Folder of the leases. */
  readonly dir: string;
  readonly runExchange4?: typeof runExchange4;
  readonly runExchange6?: typeof runExchange6;
  readonly releaseFromHost?: typeof releaseFromHost;
}

/** The environment of this host. */
export const hostEnvironment: Environment = { dir: leaseFolder };
