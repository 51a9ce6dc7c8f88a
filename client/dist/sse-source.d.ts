import type { Environment } from "./environment.js";
import { TokencastError } from "./error.js";
import type { Attempt, Connection, Sink } from "./source.js";
import type { Target } from "./target.js";
/** The credential goes into a header, except where that would cost a page of another origin a preflight. */
export declare function authorize(environment: Environment, url: URL, ticket: string | null): Record<string, string>;
/** The native view as SSE, by fetch: unlike EventSource it sees the status, and works in Node and in workers. */
export declare function openSse(environment: Environment, target: Target, attempt: Attempt, sink: Sink): Connection;
export declare function unreachable(why: string): TokencastError;
