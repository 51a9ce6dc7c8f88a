import type { Environment } from "./environment.js";
/** Runs `draw` at most once per animation frame, and at all when the page is hidden. */
export declare class Painter {
    #private;
    readonly environment: Environment;
    readonly draw: () => void;
    constructor(environment: Environment, draw: () => void);
    /** Something has changed. */
    touch(): void;
    stop(): void;
}
