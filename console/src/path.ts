import { at, make, write } from "./dom.js";
import { milliseconds } from "./words.js";

type Mark = "good" | "warn" | "bad";

interface Step {
  mark: Mark;
  title: string;
  why: string;
}

const MARKS: Record<Mark, string> = { good: "✓", warn: "!", bad: "✗" };
/** A black hole takes Chromium four seconds to see. */
const HANDSHAKE_MS = 5000;

/** Says how streams reach this page and, where it is not WebTransport, why. */
export class PathCheck {
  #running = false;

  constructor() {
    const dialog = at<HTMLDialogElement>("path-dialog");
    at("path-open").addEventListener("click", () => {
      dialog.showModal();
      void this.run();
    });
    at("path-again").addEventListener("click", () => void this.run());
  }

  async run(): Promise<void> {
    if (this.#running) return;
    this.#running = true;
    const list = at("path-steps");
    list.replaceChildren();
    write(at("path-verdict"), "Looking …");
    let broken: Step | null = null;
    for (const check of [secure, browser, http, offer, handshake]) {
      const step = await check();
      const item = make("li");
      item.append(make("span", `mark ${step.mark}`, MARKS[step.mark]), make("span", "", step.title), make("span", "why", step.why));
      list.append(item);
      if (step.mark === "bad") {
        broken = step;
        break;
      }
    }
    this.#conclude(broken);
    this.#running = false;
  }

  #conclude(broken: Step | null): void {
    const unreachable = broken?.title === UNREACHABLE;
    const verdict = broken === null ? "Streams come over WebTransport." : unreachable ? "Nothing comes through." : "Streams come over SSE: complete and in order, too, only slower to notice a dead network.";
    write(at("path-verdict"), verdict);
    write(at("path-word"), broken === null ? "WebTransport" : unreachable ? "Unreachable" : "SSE only");
    at("path-dot").className = `dot ${broken === null ? "good" : unreachable ? "bad" : "warn"}`;
  }
}

const UNREACHABLE = "The gateway does not answer";
let place: { url: string | null; certificate_hashes: { value: string; expires_at: string }[] } | null = null;

async function secure(): Promise<Step> {
  return isSecureContext
    ? { mark: "good", title: "The page is served securely", why: location.protocol === "https:" ? "Over https." : "From this machine itself, which counts." }
    : { mark: "bad", title: "The page is not served securely", why: `Browsers give WebTransport only to pages over https or from localhost, and this one is from ${location.origin}.` };
}

async function browser(): Promise<Step> {
  const agent = navigator.userAgent;
  if (!("WebTransport" in globalThis)) return { mark: "bad", title: "This browser has no WebTransport", why: "Chrome, Edge, Firefox and newer Safari have it." };
  if (/Safari\//.test(agent) && !/Chrom(e|ium)\//.test(agent)) return { mark: "bad", title: "WebTransport of this browser is not used", why: "It stalls in Safari; the client takes SSE there." };
  return { mark: "good", title: "This browser has WebTransport", why: "" };
}

async function http(): Promise<Step> {
  const began = performance.now();
  try {
    const response = await fetch("v1/webtransport", { cache: "no-store" });
    if (!response.ok) throw new Error(`it answered ${response.status}`);
    place = (await response.json()) as typeof place;
  } catch (error) {
    return { mark: "bad", title: UNREACHABLE, why: `${(error as Error).message}. Is it running, and does a proxy in front pass /v1 on?` };
  }
  const took = milliseconds(performance.now() - began);
  const [entry] = performance.getEntriesByName(new URL("v1/webtransport", location.href).href).slice(-1) as PerformanceResourceTiming[];
  const protocol = entry?.nextHopProtocol ?? "";
  const old = protocol === "http/1.1" ? " Over HTTP/1.1 a browser keeps six connections to one gateway, so at most six streams come over SSE at once, in all tabs together." : "";
  return { mark: old === "" ? "good" : "warn", title: `The gateway answers over ${protocol || "HTTP"} in ${took}`, why: `SSE works.${old}` };
}

async function offer(): Promise<Step> {
  if (place?.url == null) return { mark: "bad", title: "This gateway offers no WebTransport", why: "webtransport.enabled is false in its configuration." };
  const { hostname, port } = new URL(place.url);
  const pinned = place.certificate_hashes.length > 0 ? "It is trusted by its hash, as in development." : "It has a certificate of an authority.";
  return { mark: "good", title: `It offers WebTransport at ${hostname}, UDP port ${port || "443"}`, why: pinned };
}

async function handshake(): Promise<Step> {
  const { url, certificate_hashes: hashes } = place!;
  const port = new URL(url!).port || "443";
  const blocked = `Either UDP port ${port} does not get through (a firewall, a company network, a container that does not publish it), or the certificate is not valid for this name.`;
  const pins = hashes.map(({ value }) => ({ algorithm: "sha-256", value: Uint8Array.from(value.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16)) }));
  const began = performance.now();
  try {
    const transport = new WebTransport(url!, pins.length > 0 ? { serverCertificateHashes: pins } : {});
    transport.closed.catch(() => {});
    const late = new Promise<never>((_, reject) => setTimeout(() => reject(new Error("no answer")), HANDSHAKE_MS));
    await Promise.race([transport.ready, late]);
    const took = milliseconds(performance.now() - began);
    transport.close();
    return { mark: "good", title: `A session stands after ${took}`, why: "UDP gets through, and the certificate is accepted." };
  } catch {
    return { mark: "bad", title: "No session comes about", why: blocked };
  }
}
