/**
 * The tests that a guest was given, of all files in one process: they load the modules
 * that they have in common once, and share one host stand-in.
 *
 * @module
 */
import { registerGiven } from "./guest.ts";

await registerGiven();
