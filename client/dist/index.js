// src/backoff.ts
var Backoff = class _Backoff {
  constructor(random) {
    this.random = random;
  }
  random;
  static CAP_MS = 3e4;
  /** Whatever the gateway asks for: a timer of weeks would fire at once. */
  static FLOOR_MAX_MS = 6e5;
  retryMs = 500;
  /** Failures in a row. */
  failures = 0;
  succeeded() {
    this.failures = 0;
  }
  /** How long to wait now. `floor` is what the gateway asked for this once; it is honoured, within reason. */
  next(floor = null) {
    const bound = Math.min(_Backoff.CAP_MS, this.retryMs * 2 ** Math.min(this.failures, 16));
    this.failures++;
    const jittered = this.random() * bound;
    return floor === null ? jittered : Math.max(Math.min(floor, _Backoff.FLOOR_MAX_MS), this.failures > 1 ? jittered : 0);
  }
};

// src/environment.ts
function surroundings() {
  const scope = globalThis;
  const page = typeof document === "undefined" ? void 0 : document;
  return {
    now: () => performance.now(),
    wall: Date.now,
    random: Math.random,
    later(ms, run) {
      const timer = setTimeout(run, ms);
      return () => clearTimeout(timer);
    },
    fetch: (...args) => fetch(...args),
    WebTransport: scope.WebTransport,
    storage() {
      try {
        return scope.sessionStorage;
      } catch {
        return void 0;
      }
    },
    userAgent: scope.navigator?.userAgent ?? "",
    touch: (scope.navigator?.maxTouchPoints ?? 0) > 1,
    base: typeof location === "undefined" ? void 0 : location.href,
    visible: () => page === void 0 || page.visibilityState !== "hidden",
    frame: typeof requestAnimationFrame === "undefined" ? void 0 : (run) => {
      const handle = requestAnimationFrame(run);
      return () => cancelAnimationFrame(handle);
    },
    listen(heard2) {
      const changed = () => heard2(page.visibilityState === "hidden" ? "hidden" : "visible");
      const told = (event) => heard2(event.type);
      page?.addEventListener("visibilitychange", changed);
      const names = ["online", "pagehide", "pageshow"];
      for (const name of names) scope.addEventListener?.(name, told);
      return () => {
        page?.removeEventListener("visibilitychange", changed);
        for (const name of names) scope.removeEventListener?.(name, told);
      };
    }
  };
}

// src/error.ts
var TokencastError = class extends Error {
  constructor(code, message, status = null, detail = null, transient = false, retryMs = null) {
    super(message);
    this.code = code;
    this.status = status;
    this.detail = detail;
    this.transient = transient;
    this.retryMs = retryMs;
  }
  code;
  status;
  detail;
  transient;
  retryMs;
  name = "TokencastError";
};
function protocolError(message) {
  return new TokencastError("protocol_error", message, null, null, true);
}
var TRANSIENT = /* @__PURE__ */ new Set([408, 425, 429, 500, 502, 503, 504]);
async function answerError(response) {
  const status = response.status;
  const transient = TRANSIENT.has(status);
  const after = Number(response.headers.get("retry-after") ?? Number.NaN);
  const retryMs = Number.isFinite(after) ? after * 1e3 : null;
  try {
    const { error } = await response.json();
    if (typeof error.code === "string") return new TokencastError(error.code, String(error.message), status, error.detail ?? null, transient, retryMs);
  } catch {
  }
  return new TokencastError("not_tokencast", `the server answered ${status} without an error of tokencast; check the URL`, status, null, transient, retryMs);
}

// src/event.ts
var NAMES = /* @__PURE__ */ new Set(["snapshot", "meta", "text", "reasoning", "refusal", "tool_call", "usage", "finish", "error", "end"]);
function known(event) {
  return NAMES.has(event.event);
}

// src/fold.ts
var Fold = class {
  version = 0;
  choices = [];
  model = null;
  upstreamId = null;
  usage = null;
  /** What the provider said in band. */
  error = null;
  end = null;
  /** Of choice 0, as are `reasoning`, `refusal` and `toolCalls`. */
  get text() {
    return this.choices[0]?.text ?? "";
  }
  get reasoning() {
    return this.choices[0]?.reasoning ?? "";
  }
  get refusal() {
    return this.choices[0]?.refusal ?? "";
  }
  get toolCalls() {
    return this.choices[0]?.tool_calls ?? [];
  }
  push(item) {
    this.version++;
    const data = item.data;
    switch (item.event) {
      case "snapshot":
        this.choices = [];
        for (const { choice, ...folded } of item.data.choices) Object.assign(this.#choice(choice ?? 0), folded);
        this.usage = item.data.usage;
        break;
      case "meta":
        this.model = item.data.model;
        this.upstreamId = item.data.upstream_id;
        break;
      case "text":
      case "reasoning":
      case "refusal":
        this.#choice(item.data.choice ?? 0)[item.event] += string(item.data.text);
        break;
      case "tool_call": {
        const calls = this.#choice(item.data.choice ?? 0).tool_calls;
        let call = calls.find(({ index }) => index === item.data.index);
        if (call === void 0) {
          call = { index: item.data.index, id: null, name: null, arguments: "" };
          calls.push(call);
          calls.sort((a, b) => a.index - b.index);
        }
        call.id = item.data.id ?? call.id;
        call.name = item.data.name ?? call.name;
        call.arguments += string(item.data.arguments);
        break;
      }
      case "usage":
        this.usage = { input: item.data.input, output: item.data.output };
        break;
      case "finish":
        this.#choice(item.data.choice ?? 0).finish = item.data.reason;
        break;
      case "error":
        this.error = { code: item.data.code, message: item.data.message };
        break;
      case "end":
        this.end = data;
        this.usage = this.end.usage ?? this.usage;
        break;
    }
  }
  #choice(index) {
    if (!Number.isInteger(index) || index < 0 || index > 1023) throw new RangeError(`choice ${index}`);
    while (this.choices.length <= index) this.choices.push({ text: "", reasoning: "", refusal: "", tool_calls: [], finish: null });
    return this.choices[index];
  }
};
function string(value) {
  if (typeof value !== "string") throw new TypeError("no string where one belongs");
  return value;
}

// src/msgpack.ts
var DEPTH_MAX = 64;
var utf8 = new TextDecoder();
var encoder = new TextEncoder();
function decode(bytes2) {
  const view = new DataView(bytes2.buffer, bytes2.byteOffset, bytes2.byteLength);
  let at = 0;
  const skip = (length) => {
    const start = at;
    if (length > bytes2.length - start) throw new RangeError("MessagePack breaks off");
    at += length;
    return start;
  };
  const uint = (width) => {
    const start = skip(width);
    if (width === 1) return view.getUint8(start);
    if (width === 2) return view.getUint16(start);
    if (width === 4) return view.getUint32(start);
    return Number(view.getBigUint64(start));
  };
  const int = (width) => {
    const start = skip(width);
    if (width === 1) return view.getInt8(start);
    if (width === 2) return view.getInt16(start);
    if (width === 4) return view.getInt32(start);
    return Number(view.getBigInt64(start));
  };
  const slice = (length) => {
    const start = skip(length);
    return bytes2.subarray(start, start + length);
  };
  const text = (length) => utf8.decode(slice(length));
  const array = (length, depth) => {
    if (length > bytes2.length - at) throw new RangeError("MessagePack breaks off");
    const items = [];
    for (let i = 0; i < length; i++) items.push(value(depth));
    return items;
  };
  const map = (length, depth) => {
    if (length > bytes2.length - at) throw new RangeError("MessagePack breaks off");
    const object = {};
    for (let i = 0; i < length; i++) {
      const key = String(value(depth));
      const item = value(depth);
      if (key === "__proto__") Object.defineProperty(object, key, { value: item, enumerable: true, configurable: true, writable: true });
      else object[key] = item;
    }
    return object;
  };
  const extension = (length) => (skip(length + 1), null);
  const value = (depth) => {
    if (depth > DEPTH_MAX) throw new RangeError("MessagePack is nested too deeply");
    const kind = uint(1);
    if (kind < 128) return kind;
    if (kind < 144) return map(kind & 15, depth + 1);
    if (kind < 160) return array(kind & 15, depth + 1);
    if (kind < 192) return text(kind & 31);
    if (kind >= 224) return kind - 256;
    if (kind === 192) return null;
    if (kind === 194 || kind === 195) return kind === 195;
    if (kind >= 196 && kind <= 198) return slice(uint(1 << kind - 196));
    if (kind >= 199 && kind <= 201) return extension(uint(1 << kind - 199));
    if (kind === 202) return view.getFloat32(skip(4));
    if (kind === 203) return view.getFloat64(skip(8));
    if (kind >= 204 && kind <= 207) return uint(1 << kind - 204);
    if (kind >= 208 && kind <= 211) return int(1 << kind - 208);
    if (kind >= 212 && kind <= 216) return extension(1 << kind - 212);
    if (kind >= 217 && kind <= 219) return text(uint(1 << kind - 217));
    if (kind === 220 || kind === 221) return array(uint(kind === 220 ? 2 : 4), depth + 1);
    if (kind === 222 || kind === 223) return map(uint(kind === 222 ? 2 : 4), depth + 1);
    throw new RangeError(`0x${kind.toString(16)} is no MessagePack`);
  };
  const result = value(0);
  if (at !== bytes2.length) throw new RangeError("bytes behind the MessagePack");
  return result;
}
function encode(value) {
  const out = [];
  const big = (number, width) => {
    for (let shift = BigInt(width - 1) * 8n; shift >= 0n; shift -= 8n) out.push(Number(BigInt(number) >> shift & 0xffn));
  };
  const head = (length, fix, fixMax, wide, byte) => {
    if (length <= fixMax) out.push(fix | length);
    else if (byte && length < 256) out.push(wide - 1, length);
    else if (length < 65536) out.push(wide), big(length, 2);
    else out.push(wide + 1), big(length, 4);
  };
  const write = (item) => {
    if (item === null || item === void 0) out.push(192);
    else if (typeof item === "boolean") out.push(item ? 195 : 194);
    else if (typeof item === "number") {
      if (!Number.isSafeInteger(item) || Object.is(item, -0)) {
        const view = new DataView(new ArrayBuffer(8));
        view.setFloat64(0, item);
        out.push(203, ...new Uint8Array(view.buffer));
      } else if (item >= 0) {
        if (item < 128) out.push(item);
        else if (item < 256) out.push(204, item);
        else if (item < 65536) out.push(205), big(item, 2);
        else if (item < 4294967296) out.push(206), big(item, 4);
        else out.push(207), big(item, 8);
      } else if (item >= -32) out.push(item + 256);
      else out.push(211), big(item, 8);
    } else if (typeof item === "string") {
      const bytes2 = encoder.encode(item);
      head(bytes2.length, 160, 31, 218, true);
      for (const byte of bytes2) out.push(byte);
    } else if (Array.isArray(item)) {
      head(item.length, 144, 15, 220, false);
      for (const entry of item) write(entry);
    } else {
      const entries = Object.entries(item).filter(([, member]) => member !== void 0);
      head(entries.length, 128, 15, 222, false);
      for (const [key, member] of entries) write(key), write(member);
    }
  };
  write(value);
  return Uint8Array.from(out);
}

// src/records.ts
var Records = class {
  constructor(bytesMax = 32 * 1024 * 1024) {
    this.bytesMax = bytesMax;
  }
  bytesMax;
  #head = new Uint8Array(4);
  #headLength = 0;
  #body = null;
  #filled = 0;
  /** What stands behind the last record is none: thrown at once only where no record is in front of it. */
  fault = null;
  /** What has been begun and not ended; a stream must not finish here. */
  get partial() {
    return this.#headLength > 0 || this.#body !== null;
  }
  push(chunk) {
    if (this.fault !== null) throw this.fault;
    const records = [];
    let at = 0;
    while (at < chunk.length) {
      if (this.#body === null) {
        this.#head[this.#headLength++] = chunk[at++];
        if (this.#headLength < 4) continue;
        const length = new DataView(this.#head.buffer).getUint32(0);
        if (length === 0 || length > this.bytesMax) {
          this.fault = new RangeError(`a record of ${length} bytes`);
          if (records.length === 0) throw this.fault;
          return records;
        }
        this.#headLength = 0;
        if (length <= chunk.length - at) {
          records.push(chunk.subarray(at, at + length));
          at += length;
        } else {
          this.#body = new Uint8Array(Math.min(length, 64 * 1024));
          this.#filled = 0;
          this.#length = length;
        }
      } else {
        const take = Math.min(this.#length - this.#filled, chunk.length - at);
        if (this.#filled + take > this.#body.length) {
          const grown = new Uint8Array(Math.min(this.#length, Math.max(this.#body.length * 2, this.#filled + take)));
          grown.set(this.#body.subarray(0, this.#filled));
          this.#body = grown;
        }
        this.#body.set(chunk.subarray(at, at + take), this.#filled);
        this.#filled += take;
        at += take;
        if (this.#filled === this.#length) {
          records.push(this.#body.subarray(0, this.#length));
          this.#body = null;
        }
      }
    }
    return records;
  }
  #length = 0;
};
function record(body) {
  const bytes2 = new Uint8Array(4 + body.length);
  new DataView(bytes2.buffer).setUint32(0, body.length);
  bytes2.set(body, 4);
  return bytes2;
}

// src/sse.ts
var SseParser = class {
  constructor(charsMax = 32 * 1024 * 1024) {
    this.charsMax = charsMax;
  }
  charsMax;
  /** The last `retry` that was said. */
  retryMs = null;
  #decoder = new TextDecoder();
  #pieces = [];
  #held = 0;
  #skipLf = false;
  #id = null;
  #event = "";
  #data = [];
  push(chunk) {
    const text = this.#decoder.decode(chunk, { stream: true });
    const events = [];
    const border = /[\r\n]/g;
    let start = 0;
    if (this.#skipLf && text !== "") {
      if (text[0] === "\n") start = 1;
      this.#skipLf = false;
    }
    for (; ; ) {
      border.lastIndex = start;
      const found = border.exec(text);
      if (found === null) break;
      const line = this.#pieces.join("") + text.slice(start, found.index);
      this.#pieces = [];
      start = found.index + 1;
      if (found[0] === "\r") {
        if (start === text.length) this.#skipLf = true;
        else if (text[start] === "\n") start++;
      }
      this.#line(line, events);
    }
    if (start < text.length) this.#hold(this.#pieces, text.slice(start));
    return events;
  }
  #hold(into, text) {
    this.#held += text.length;
    if (this.#held > this.charsMax) throw new RangeError("an event that is too large");
    into.push(text);
  }
  #line(line, events) {
    if (line === "") {
      if (this.#data.length > 0) events.push({ id: this.#id, event: this.#event || "message", data: this.#data.join("\n") });
      this.#id = null;
      this.#event = "";
      this.#data = [];
      this.#held = 0;
      return;
    }
    const colon = line.indexOf(":");
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(line[colon + 1] === " " ? colon + 2 : colon + 1);
    if (name === "data") this.#hold(this.#data, value);
    else if (name === "event") this.#event = value;
    else if (name === "id") this.#id = value;
    else if (name === "retry" && /^\d+$/.test(value)) this.retryMs = Number(value);
  }
};

// src/sse-source.ts
var HEARTBEAT_MS = 1e3;
var GRACE_MS = 1e3;
function authorize(environment, url, ticket) {
  if (ticket === null) return {};
  const foreign = environment.base !== void 0 && new URL(environment.base).origin !== url.origin;
  if (!foreign) return { authorization: `Bearer ${ticket}` };
  url.searchParams.set("ticket", ticket);
  return {};
}
function openSse(environment, target, attempt, sink) {
  const heartbeatMs = attempt.heartbeatMs ?? HEARTBEAT_MS;
  const abort = new AbortController();
  let open = true;
  let heard2 = environment.now();
  let paused = false;
  let cancelTimer = () => {
  };
  const finish = (tell) => {
    if (!open) return;
    open = false;
    cancelTimer();
    abort.abort();
    tell();
  };
  const watch = () => {
    const due = environment.now();
    cancelTimer = environment.later(250, () => {
      const now = environment.now();
      if (now - due > 1250 || paused) heard2 = Math.max(heard2, now - heartbeatMs);
      if (now - heard2 > heartbeatMs + GRACE_MS) {
        heard2 = now;
        sink.silent();
      }
      if (open) watch();
    });
  };
  const run = async () => {
    const url = new URL(`${target.gateway}/v1/streams/${target.id}/events`);
    if (attempt.after === "live") url.searchParams.set("from", "live");
    else url.searchParams.set("after", String(attempt.after));
    if (attempt.snapshot) url.searchParams.set("snapshot", "1");
    url.searchParams.set("heartbeat_ms", String(heartbeatMs));
    const headers = { accept: "text/event-stream", ...authorize(environment, url, attempt.ticket) };
    const asked = environment.now();
    const response = await environment.fetch(url, { headers, signal: abort.signal, cache: "no-store", credentials: "omit" });
    if (response.status === 204) return finish(() => sink.over());
    if (response.status !== 200) {
      const error = await answerError(response);
      return finish(() => sink.failed(error));
    }
    if (!/^text\/event-stream/i.test(response.headers.get("content-type") ?? "") || response.body === null) {
      return finish(() => sink.failed(new TokencastError("not_tokencast", "the server answered with something that is no event stream; check the URL", 200)));
    }
    if (!open) return;
    heard2 = environment.now();
    watch();
    const parser = new SseParser();
    const reader = response.body.getReader();
    let greeted = false;
    while (open) {
      const { done, value } = await reader.read();
      if (done) break;
      heard2 = environment.now();
      for (const item of parser.push(value)) {
        if (!open) return;
        const data = JSON.parse(item.data);
        if (typeof data !== "object" || data === null) throw new SyntaxError("data that is no object");
        if (item.event === "open") {
          greeted = true;
          sink.rtt(heard2 - asked);
          sink.opened(data, parser.retryMs);
        } else if (!greeted) throw new SyntaxError("an event before open");
        else if (item.event === "bye") {
          const { code, retry_ms } = data;
          return finish(() => sink.bye(code, Number(retry_ms) || 0));
        } else sink.event({ id: item.id === null ? null : cursor(item.id), event: item.event, data });
      }
      const full = sink.full();
      if (full !== null) {
        paused = true;
        await full;
        paused = false;
        heard2 = environment.now();
      }
    }
    finish(() => sink.closed(unreachable("the connection ended before the stream did")));
  };
  run().catch((cause) => {
    const garbage = cause instanceof SyntaxError || cause instanceof RangeError;
    finish(() => sink.closed(garbage ? protocolError(`garbage on the wire: ${cause.message}`) : unreachable(String(cause?.message ?? cause))));
  });
  return {
    close: () => finish(() => {
    }),
    // Nothing can be asked over SSE; only a new connection tells.
    probe: () => sink.silent()
  };
}
function unreachable(why) {
  return new TokencastError("unreachable", `the gateway cannot be reached: ${why}`, null, null, true);
}
function cursor(id) {
  const seq = Number(id);
  if (!/^\d+$/.test(id) || !Number.isSafeInteger(seq)) throw new SyntaxError(`the id ${id}`);
  return seq;
}

// src/session.ts
var HANDSHAKE_MS = 5e3;
var PING_MIN_MS = 50;
var PING_MS = 350;
var MEASURE_MS = 5e3;
var PING_IDLE_MS = 1e4;
var SILENT_MS = 1500;
var SILENT_IDLE_MS = 15e3;
var ACK_MS = 1e3;
var LINGER_MS = 1e4;
var [HEADER, FRAME, HEARTBEAT, ERROR, BYE, END] = [0, 1, 2, 3, 4, 5];
var Session = class {
  /** `settled` is told once whether the handshake came about. */
  constructor(environment, url, hashes, settled, gone) {
    this.environment = environment;
    this.gone = gone;
    this.#heard = this.#idleSince = environment.now();
    let told = false;
    const settle = (ready) => {
      if (told) return;
      told = true;
      cancelTimer();
      settled(ready);
      if (!ready) this.#die(handshakeFailed());
    };
    const cancelTimer = environment.later(HANDSHAKE_MS, () => settle(false));
    try {
      const transport = new environment.WebTransport(url, hashes.length > 0 ? { serverCertificateHashes: hashes.map((value) => ({ algorithm: "sha-256", value })) } : {});
      this.#transport = transport;
      const ended = () => told ? this.#die(unreachable("the session was lost")) : settle(false);
      transport.closed.then(ended, ended);
      transport.ready.then(
        () => {
          if (told) return transport.close();
          settle(true);
          this.#start(transport).catch(() => this.#die(unreachable("the session was lost")));
        },
        () => settle(false)
      );
    } catch {
      settle(false);
    }
  }
  environment;
  gone;
  state = "connecting";
  /** It has been silent: whoever comes now takes another one. */
  suspect = false;
  rtt = null;
  #subscriptions = /* @__PURE__ */ new Map();
  #numbers = 0;
  #subscriptionsMax = 64;
  #ackBytes = 262144;
  #writer = null;
  #transport = null;
  #heard;
  /** The usual time between two arrivals. */
  #usual = PING_MS / 3;
  #pinged = 0;
  /** When the first ping of this silence was sent. */
  #unanswered = null;
  #cancelTick = () => {
  };
  #idleSince;
  get takes() {
    return this.state !== "closed" && !this.suspect && this.#subscriptions.size < this.#subscriptionsMax;
  }
  subscribe(target, attempt, sink) {
    const number = ++this.#numbers;
    const subscription = { number, target, attempt, sink, confirmed: false, seq: 0, acked: 0, unackedBytes: 0, ackedAt: 0, running: true };
    this.#subscriptions.set(number, subscription);
    if (this.state === "open") this.#ask(subscription);
    return {
      close: () => {
        if (!this.#drop(subscription)) return;
        this.#send({ type: "unsubscribe", subscription: number });
      },
      probe: () => {
        this.#ping();
        this.#tickSoon();
      },
      stop: () => this.#send({ type: "stop", subscription: number })
    };
  }
  /** Closes without telling anybody. */
  close() {
    this.#subscriptions.clear();
    this.#die(unreachable("closed"));
  }
  async #start(transport) {
    const control = await transport.createBidirectionalStream();
    this.#writer = control.writable.getWriter();
    this.#writer.closed.catch(() => {
    });
    if (this.state === "closed") return;
    this.state = "open";
    this.#send({ type: "hello", version: 1 });
    this.#heard = this.environment.now();
    for (const subscription of this.#subscriptions.values()) this.#ask(subscription);
    this.#ping();
    this.#readControl(control.readable).catch((cause) => this.#die(fault(cause)));
    this.#tick();
    const streams = transport.incomingUnidirectionalStreams.getReader();
    while (this.state === "open") {
      const { done, value } = await streams.read();
      if (done) break;
      this.#readStream(value).catch(() => {
      });
    }
    this.#die(unreachable("the session ended"));
  }
  #ask(subscription) {
    const { after, snapshot, ticket, heartbeatMs } = subscription.attempt();
    if (this.rtt !== null) subscription.sink.rtt(this.rtt);
    if (after !== "live") subscription.seq = subscription.acked = after;
    this.#send({
      type: "subscribe",
      subscription: subscription.number,
      stream: subscription.target.id,
      after: after === "live" ? void 0 : after,
      from: after === "live" ? "live" : void 0,
      snapshot: snapshot || void 0,
      heartbeat_ms: heartbeatMs ?? void 0,
      ticket: ticket ?? void 0
    });
  }
  #send(message) {
    if (this.#writer === null || this.state !== "open") return;
    this.#writer.write(record(encode(message))).catch(() => {
    });
  }
  async #readControl(readable) {
    const records = new Records(64 * 1024);
    const reader = readable.getReader();
    for (; ; ) {
      const { done, value } = await reader.read();
      if (done) break;
      this.#alive();
      for (const body of records.push(value)) this.#message(decode(body));
      if (records.fault !== null) throw records.fault;
    }
    this.#die(unreachable("the control stream ended"));
  }
  #message(message) {
    const subscription = this.#subscriptions.get(message.subscription);
    switch (message.type) {
      case "welcome":
        this.#subscriptionsMax = Math.min(64, Number(message.subscriptions_max) || 64);
        this.#ackBytes = Number(message.ack_bytes) || this.#ackBytes;
        break;
      case "subscribed":
        if (subscription !== void 0) subscription.confirmed = true;
        break;
      case "pong":
        if (typeof message.t === "number") {
          this.rtt = this.environment.now() - message.t;
          for (const { sink } of this.#subscriptions.values()) sink.rtt(this.rtt);
        }
        break;
      case "error": {
        if (subscription === void 0 || subscription.confirmed) break;
        const code = String(message.code);
        const error = refusal(code, message);
        if (this.#drop(subscription)) subscription.sink.failed(error);
        break;
      }
      case "bye": {
        this.suspect = true;
        const all = [...this.#subscriptions.values()];
        this.#subscriptions.clear();
        for (const { sink } of all) sink.bye(String(message.code), Number(message.retry_ms) || 0);
        this.#die(unreachable("the gateway said goodbye"));
        break;
      }
    }
  }
  async #readStream(stream) {
    const records = new Records();
    const reader = stream.getReader();
    let subscription = null;
    let error = unreachable("the connection ended before the stream did");
    try {
      for (; ; ) {
        const { done, value } = await reader.read();
        if (done) break;
        this.#alive();
        for (const body of records.push(value)) {
          const item = decode(body);
          if (!Array.isArray(item) || typeof item[0] !== "number") throw new RangeError("a record that is none");
          if (subscription === null) {
            if (item[0] !== HEADER) throw new RangeError("no header");
            const header = item[1];
            subscription = this.#subscriptions.get(header.subscription) ?? null;
            if (subscription === null) return void reader.cancel().catch(() => {
            });
            subscription.confirmed = true;
            subscription.running = header.status === "running";
            subscription.seq = subscription.acked = Math.max(subscription.seq, header.after);
            subscription.sink.opened(header, header.retry_ms ?? null);
          } else this.#record(subscription, item);
        }
        if (records.fault !== null) throw records.fault;
        if (subscription === null) continue;
        if (!this.#subscriptions.has(subscription.number)) return void reader.cancel().catch(() => {
        });
        const full = subscription.sink.full();
        if (full !== null) await full;
        subscription.unackedBytes += value.length;
        const due = subscription.unackedBytes >= this.#ackBytes / 4 || this.environment.now() - subscription.ackedAt >= ACK_MS;
        if (due || !this.environment.visible()) this.#ack(subscription);
      }
    } catch (cause) {
      error = fault(cause);
      reader.cancel().catch(() => {
      });
    }
    if (subscription === null && error.code === "protocol_error") return this.#die(error);
    if (subscription !== null && this.#drop(subscription)) {
      this.#send({ type: "unsubscribe", subscription: subscription.number });
      subscription.sink.closed(error);
    }
  }
  #record(subscription, item) {
    const { sink } = subscription;
    const tell = (event) => {
      if (event.id !== null) subscription.seq = event.id;
      sink.event(event);
    };
    switch (item[0]) {
      case FRAME:
        if (!Array.isArray(item[1])) throw new RangeError("a frame that is no array");
        for (const event of item[1].map(heard)) tell(event);
        break;
      case END: {
        const event = heard(item[1]);
        subscription.running = false;
        this.#drop(subscription);
        tell(event);
        break;
      }
      case BYE: {
        const { code, retry_ms } = item[1];
        if (this.#drop(subscription)) sink.bye(String(code), Number(retry_ms) || 0);
        break;
      }
      case ERROR: {
        const message = item[1];
        if (this.#drop(subscription)) sink.failed(refusal(String(message.code), message));
        break;
      }
      case HEARTBEAT:
        break;
    }
  }
  #ack(subscription) {
    subscription.unackedBytes = 0;
    if (subscription.seq <= subscription.acked) return;
    subscription.acked = subscription.seq;
    subscription.ackedAt = this.environment.now();
    this.#send({ type: "ack", subscription: subscription.number, seq: subscription.seq });
  }
  #drop(subscription) {
    const was = this.#subscriptions.delete(subscription.number);
    if (this.#subscriptions.size === 0) this.#idleSince = this.environment.now();
    return was;
  }
  #alive() {
    this.#unanswered = null;
    const now = this.environment.now();
    this.#usual += (Math.min(now - this.#heard, PING_MS) - this.#usual) / 8;
    this.#heard = now;
    this.suspect = false;
  }
  #ping() {
    this.#pinged = this.environment.now();
    this.#unanswered ??= this.#pinged;
    this.#send({ type: "ping", t: this.#pinged });
  }
  /** Pings into the silence, acknowledges, and says when the silence has become too long. */
  #tick() {
    if (this.state !== "open") return;
    const { environment } = this;
    const now = environment.now();
    const subscriptions = [...this.#subscriptions.values()];
    if (subscriptions.length === 0 && now - this.#idleSince >= LINGER_MS) return this.close();
    const eager = environment.visible() && subscriptions.some(({ running }) => running);
    const silence = now - this.#heard;
    const since = now - this.#pinged;
    const patience = Math.min(PING_MS, Math.max(PING_MIN_MS, 3 * this.#usual));
    const pause = Math.min(PING_MS, Math.max(patience, silence / 2));
    if (eager ? since >= MEASURE_MS || silence >= patience && since >= pause : silence >= PING_IDLE_MS && since >= PING_IDLE_MS / 2) this.#ping();
    const unanswered = this.#unanswered === null ? 0 : now - this.#unanswered;
    if (silence >= (eager ? SILENT_MS : SILENT_IDLE_MS) && unanswered >= SILENT_MS - PING_MS - 100 && !this.suspect) {
      this.suspect = true;
      for (const { sink } of subscriptions) sink.silent();
    }
    for (const subscription of subscriptions) if (now - subscription.ackedAt >= ACK_MS) this.#ack(subscription);
    const due = Math.max(this.#heard + patience, this.#pinged + pause) - now;
    this.#cancelTick = environment.later(eager ? Math.min(100, Math.max(10, due)) : 500, () => this.#tick());
  }
  #tickSoon() {
    this.#cancelTick();
    this.#tick();
  }
  #die(error) {
    if (this.state === "closed") return;
    const connecting = this.state === "connecting";
    this.state = "closed";
    this.#cancelTick();
    this.#writer = null;
    const close = () => {
      try {
        this.#transport?.close({ closeCode: 0, reason: "" });
      } catch {
      }
    };
    if (connecting) this.#transport?.ready.then(close, () => {
    });
    else close();
    const all = [...this.#subscriptions.values()];
    this.#subscriptions.clear();
    this.gone(this);
    for (const { sink } of all) sink.closed(error);
  }
};
function handshakeFailed() {
  return new TokencastError("webtransport_failed", "the WebTransport handshake failed", null, null, true);
}
function heard(event) {
  const [id, name, data] = event;
  const valid = (id === null || Number.isSafeInteger(id)) && typeof name === "string" && typeof data === "object" && data !== null;
  if (!valid) throw new RangeError("an event that is none");
  return { id, event: name, data };
}
function fault(cause) {
  return cause instanceof RangeError || cause instanceof TypeError ? protocolError(`garbage on the wire: ${cause.message}`) : unreachable("the session was lost");
}
var TRANSIENT2 = /* @__PURE__ */ new Set(["too_many_subscriptions", "storage_error", "overloaded", "draining", "subscription_in_use"]);
function refusal(code, message) {
  return new TokencastError(code, String(message.message ?? code), null, message.detail ?? null, TRANSIENT2.has(code));
}

// src/gateway.ts
var REMEMBER_MS = 15 * 6e4;
var LOCATE_MS = 5e3;
function unsupported(environment) {
  const agent = environment.userAgent;
  if (environment.WebTransport === void 0) return "this browser has no WebTransport, or the page is not served securely";
  const apple = /iP(hone|ad|od)/.test(agent) || /Macintosh/.test(agent) && environment.touch;
  if (apple || /Safari\//.test(agent) && !/Chrom(e|ium)\//.test(agent)) return "WebTransport stalls in Safari";
  const firefox = /Firefox\/(\d+)/.exec(agent);
  if (firefox !== null && Number(firefox[1]) < 153) return "Firefox before 153 allows too few streams";
  return null;
}
var Gateway = class {
  constructor(environment, url) {
    this.environment = environment;
    this.url = url;
    environment.listen((event) => {
      if (event === "online") this.forgive();
      if (event === "pagehide") for (const session of [...this.#sessions]) session.close();
    });
  }
  environment;
  url;
  /** Streams that are open over SSE. A browser has six connections of HTTP/1.1 for them; more have to queue. */
  streaming = 0;
  #sessions = [];
  #opening = null;
  #failedUntil = 0;
  /** A session has stood here before: a failure is then the gateway's restart rather than the network's refusal. */
  #worked = false;
  /** Why WebTransport is not tried now, or null. */
  refusal() {
    return unsupported(this.environment) ?? (this.#wait() > 0 ? "WebTransport failed here within the last 15 minutes" : null);
  }
  /** Milliseconds until WebTransport may be tried again. */
  #wait() {
    const until = Number(this.#stored()?.getItem(this.#key) ?? 0);
    return Math.max(this.#failedUntil, Number.isFinite(until) ? until : 0) - this.environment.wall();
  }
  /** When a follower on SSE may look again; null for never. */
  retryIn() {
    return unsupported(this.environment) === null ? Math.max(0, this.#wait()) : null;
  }
  /** The network is another one. */
  forgive() {
    this.#failedUntil = 0;
    this.#store("0");
  }
  connect(target, attempt, sink) {
    let closed = false;
    let connection = null;
    const place = async () => {
      while (!closed) {
        const session = this.#sessions.find(({ takes }) => takes) ?? await this.#opened();
        if (closed) return;
        if (session.state === "closed") throw handshakeFailed();
        if (session.takes) return void (connection = session.subscribe(target, attempt, sink));
      }
    };
    place().catch((error) => {
      if (!closed) sink.closed(error);
    });
    return {
      close() {
        closed = true;
        connection?.close();
      },
      probe: () => connection?.probe(),
      stop: () => connection?.stop?.()
    };
  }
  /** A new session; callers of the same moment share it. */
  #opened() {
    this.#opening ??= this.#open().finally(() => this.#opening = null);
    return this.#opening;
  }
  async #open() {
    const { environment } = this;
    const { url, hashes } = await this.#locate();
    const session = new Session(
      environment,
      url,
      hashes,
      (ready) => {
        if (ready) {
          this.#worked = true;
          return;
        }
        this.#failed(this.#worked ? 6e4 : REMEMBER_MS);
        this.#worked = false;
      },
      (gone) => this.#sessions = this.#sessions.filter((other) => other !== gone)
    );
    if (session.state !== "closed") this.#sessions.push(session);
    return session;
  }
  /** Asked for every session: certificates of development change. That the gateway does not answer says nothing about WebTransport. */
  async #locate() {
    const abort = new AbortController();
    const cancel = this.environment.later(LOCATE_MS, () => abort.abort());
    try {
      const response = await this.environment.fetch(`${this.url}/v1/webtransport`, { signal: abort.signal, cache: "no-store", credentials: "omit" });
      if (response.status >= 500) throw unreachable(`it answered ${response.status}`);
      const said = response.status === 200 ? await response.json() : null;
      if (typeof said?.url !== "string") {
        this.#failed(REMEMBER_MS);
        throw new TokencastError("webtransport_unavailable", "WebTransport is off at this gateway");
      }
      const hashes = said.certificate_hashes.filter(({ algorithm }) => algorithm === "sha-256").map(({ value }) => bytes(value));
      return { url: said.url, hashes };
    } catch (cause) {
      if (cause instanceof TokencastError) throw cause;
      throw unreachable(String(cause?.message ?? cause));
    } finally {
      cancel();
    }
  }
  #failed(ms) {
    this.#failedUntil = this.environment.wall() + ms;
    this.#store(String(this.#failedUntil));
  }
  get #key() {
    return `tokencast.webtransport.failed ${this.url}`;
  }
  #stored() {
    try {
      return this.environment.storage();
    } catch {
      return void 0;
    }
  }
  #store(until) {
    try {
      this.#stored()?.setItem(this.#key, until);
    } catch {
    }
  }
};
function bytes(hex) {
  return Uint8Array.from(hex.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
}
var gateways = /* @__PURE__ */ new WeakMap();
function gatewayAt(environment, url) {
  let known2 = gateways.get(environment);
  if (known2 === void 0) gateways.set(environment, known2 = /* @__PURE__ */ new Map());
  let gateway = known2.get(url);
  if (gateway === void 0) known2.set(url, gateway = new Gateway(environment, url));
  return gateway;
}

// src/lane.ts
var Lane = class {
  constructor(kind) {
    this.kind = kind;
  }
  kind;
  connection = null;
  /** Ends the wait for it to open. */
  cancelTimer = () => {
  };
  /** The gateway has said where it begins. */
  opened = false;
  openedAt = 0;
  progressed = false;
  /** It is silent, and another one is on its way. */
  suspect = false;
  /** The cursor that it was asked for. */
  after = null;
  /** Events behind the last id. They are provisional and wait for it, so nothing ever has to be taken back. */
  #pending = [];
  /** What of it is new behind `cursor`: a whole group up to an id. Null where it is none yet or was seen before; throws on a gap. */
  accept(event, cursor2) {
    if (event.id === null) {
      this.#pending.push(event);
      return null;
    }
    const group = [...this.#pending, event];
    this.#pending = [];
    if (event.event === "end") return group;
    if (event.id <= cursor2) return null;
    if (event.event === "snapshot" ? cursor2 !== 0 : from(group[0]) !== cursor2 + 1) throw misfit(group[0], cursor2);
    return group;
  }
};
function from(event) {
  return event.data.from;
}
function misfit(event, cursor2) {
  return protocolError(`${event.event} from ${String(from(event))} does not follow ${cursor2}`);
}

// src/meter.ts
var WINDOW_MS = 2e3;
var STEP_MS = 50;
var Meter = class {
  #samples = [];
  #latest = 0;
  note(now, value) {
    this.#latest = value;
    const last = this.#samples.at(-1);
    if (last !== void 0 && now - last[0] < STEP_MS) return;
    this.#samples.push([now, value]);
    while (now - this.#samples[0][0] > WINDOW_MS) this.#samples.shift();
  }
  perSecond(now) {
    const first = this.#samples.find(([at]) => now - at <= WINDOW_MS);
    if (first === void 0) return 0;
    return (this.#latest - first[1]) * 1e3 / Math.max(now - first[0], STEP_MS);
  }
};

// src/paint.ts
var HIDDEN_MS = 250;
var Painter = class {
  constructor(environment, draw) {
    this.environment = environment;
    this.draw = draw;
  }
  environment;
  draw;
  #cancel = null;
  /** Something has changed. */
  touch() {
    if (this.#cancel !== null) return;
    const { frame } = this.environment;
    const cancels = [];
    const run = () => {
      this.stop();
      this.draw();
    };
    this.#cancel = () => cancels.forEach((cancel) => cancel());
    if (frame === void 0) cancels.push(this.environment.later(16, run));
    else cancels.push(frame(run), this.environment.later(HIDDEN_MS, run));
  }
  stop() {
    this.#cancel?.();
    this.#cancel = null;
  }
};

// src/queue.ts
var Queue = class {
  constructor(max) {
    this.max = max;
  }
  max;
  #items = [];
  #taken = 0;
  #waiting = [];
  #refused = [];
  #ended = null;
  #drained = null;
  get length() {
    return this.#items.length - this.#taken;
  }
  push(item) {
    const take = this.#waiting.shift();
    this.#refused.shift();
    if (take === void 0) this.#items.push(item);
    else take({ done: false, value: item });
  }
  /** A promise while there is too much; resolves at half. */
  full() {
    if (this.length < this.max || this.#ended !== null) return this.#drained?.promise ?? null;
    if (this.#drained === null) {
      let resolve = () => {
      };
      const promise = new Promise((done) => resolve = done);
      this.#drained = { promise, resolve };
    }
    return this.#drained.promise;
  }
  next() {
    if (this.length > 0) {
      const value = this.#items[this.#taken++];
      if (this.#taken > 1024 && this.#taken * 2 > this.#items.length) {
        this.#items = this.#items.slice(this.#taken);
        this.#taken = 0;
      }
      if (this.length * 2 <= this.max) this.#release();
      return Promise.resolve({ done: false, value });
    }
    if (this.#ended !== null) {
      const { error } = this.#ended;
      this.#ended = { error: null };
      return error === null ? Promise.resolve({ done: true, value: void 0 }) : Promise.reject(error);
    }
    return new Promise((resolve, reject) => {
      this.#waiting.push(resolve);
      this.#refused.push(reject);
    });
  }
  /** Nothing comes any more; what is there is still given out first. */
  end(error = null) {
    if (this.#ended !== null) return;
    const waiting = this.#waiting.splice(0);
    const [refuse] = this.#refused.splice(0);
    this.#ended = { error: waiting.length > 0 ? null : error };
    waiting.forEach((resolve, index) => index === 0 && error !== null ? refuse(error) : resolve({ done: true, value: void 0 }));
    this.#release();
  }
  #release() {
    this.#drained?.resolve();
    this.#drained = null;
  }
};

// src/target.ts
function parseTarget(url, base) {
  const invalid = (why) => new TokencastError("invalid_url", `${why}; expected https://HOST/v1/streams/ID`);
  let parsed;
  try {
    parsed = new URL(url, base);
  } catch {
    throw invalid(`${String(url)} is no URL`);
  }
  const found = /^(.*)\/v1\/streams\/([A-Za-z0-9_-]{1,64})(?:\/events)?\/?$/.exec(parsed.pathname);
  if (found === null) throw invalid(`${parsed.pathname} is no stream`);
  if (parsed.protocol !== "http:" && parsed.protocol !== "https:") throw invalid(`${parsed.protocol} is not followed`);
  return { gateway: parsed.origin + found[1], id: found[2], ticket: parsed.searchParams.get("ticket"), after: parsed.searchParams.get("after") };
}

// src/follow.ts
var RACE_MS = 600;
var UPGRADE_MS = 6e4;
var OPEN_MS = 15e3;
var QUEUEING = 4;
var STEADY_MS = 5e3;
var FAULTS_MAX = 3;
var QUEUE_MAX = 4096;
var shared;
function follow(url, options = {}) {
  return new Follow(url, options);
}
var Follow = class {
  /** Text, reasoning and tool calls so far. */
  fold = new Fold();
  /** Never rejects. */
  done;
  outcome = null;
  #environment;
  #options;
  #backoff;
  #meter = new Meter();
  #queues = /* @__PURE__ */ new Set();
  #painters = /* @__PURE__ */ new Set();
  #lanes = /* @__PURE__ */ new Set();
  #began;
  #target = null;
  #gateway = null;
  #settle = () => {
  };
  #state = "connecting";
  #leader = null;
  #transport = null;
  /** Null until "live" has become a number. */
  #cursor = 0;
  #ticket = null;
  #ticketAsked = false;
  #ticketRefused = 0;
  #faults = 0;
  #handshakes = 0;
  #opens = 0;
  #events = 0;
  #tail = 0;
  #rtt = null;
  #firstToken = null;
  #lastEvent;
  #cancelRetry = () => {
  };
  #cancelRace = () => {
  };
  #cancelUpgrade = () => {
  };
  #unlisten = () => {
  };
  constructor(url, options) {
    this.#options = options;
    const environment = this.#environment = options.environment ?? (shared ??= surroundings());
    this.#backoff = new Backoff(environment.random);
    this.#began = this.#lastEvent = environment.now();
    this.done = new Promise((resolve) => this.#settle = resolve);
    let target;
    try {
      this.#target = target = parseTarget(url, environment.base);
      this.#gateway = gatewayAt(environment, target.gateway);
      this.#ticket = typeof options.ticket === "string" ? options.ticket : target.ticket;
    } catch (error) {
      target = error;
    }
    this.#cancelRetry = environment.later(0, () => this.#begin(target));
    const { signal } = options;
    if (signal?.aborted) this.close();
    else {
      const aborted = () => this.close();
      signal?.addEventListener("abort", aborted, { once: true });
      this.done.then(() => signal?.removeEventListener("abort", aborted));
    }
  }
  get state() {
    return this.#state;
  }
  /** The seq of the last block that was given out. */
  get seq() {
    return this.#cursor ?? 0;
  }
  /** Every event from now on; begin in the same turn as `follow`. Leaving the loop closes, giving up throws. */
  [Symbol.asyncIterator]() {
    const queue = new Queue(QUEUE_MAX);
    if (this.outcome !== null) queue.end(this.outcome.error);
    else this.#queues.add(queue);
    return {
      next: () => queue.next(),
      return: () => {
        this.#queues.delete(queue);
        queue.end();
        this.close();
        return Promise.resolve({ done: true, value: void 0 });
      }
    };
  }
  /** Calls `draw` at most once per animation frame, when something has changed. Returns what ends it. */
  paint(draw) {
    const painter = new Painter(this.#environment, () => {
      this.#guard(() => draw(this.fold, this));
      if (this.outcome !== null) this.#painters.delete(painter);
    });
    this.#painters.add(painter);
    painter.touch();
    return () => {
      painter.stop();
      this.#painters.delete(painter);
    };
  }
  stats() {
    const now = this.#environment.now();
    const transport = this.#transport;
    const note = this.#options.transport === "sse" ? "SSE was asked for" : this.#gateway?.refusal() ?? null;
    return {
      state: this.#state,
      transport,
      transportNote: transport === "webtransport" ? null : note,
      seq: this.seq,
      behind: Math.max(0, this.#tail - this.seq),
      rttMs: this.#rtt,
      tokensPerSecond: this.#meter.perSecond(now),
      quietMs: now - this.#lastEvent,
      firstTokenMs: this.#firstToken,
      events: this.#events,
      reconnects: Math.max(0, this.#opens - 1)
    };
  }
  /** Stops the stream itself, for everybody. Null once the gateway has taken it; the end then comes as an event. */
  async stop() {
    const target = this.#target;
    if (target === null) return this.outcome?.error ?? new TokencastError("invalid_url", "there is no stream at this URL");
    try {
      const url = new URL(`${target.gateway}/v1/streams/${target.id}`);
      const headers = authorize(this.#environment, url, this.#ticket);
      const response = await this.#environment.fetch(url, { method: "DELETE", headers, credentials: "omit" });
      return response.ok ? null : await answerError(response);
    } catch (cause) {
      if (cause instanceof TokencastError) return cause;
      if (this.#leader?.connection?.stop === void 0) return unreachable(String(cause?.message ?? cause));
      this.#leader.connection.stop();
      return null;
    }
  }
  /** Breaks the connection, as a network would, and comes back. For tests and demonstrations. */
  reconnect() {
    if (this.outcome !== null || this.#state === "suspended") return;
    this.#closeLanes();
    this.#connect();
  }
  /** Follows no further. The stream goes on. */
  close() {
    this.#finish({ reason: "closed", end: null, error: null });
  }
  #begin(target) {
    if (target instanceof TokencastError) return this.#fail(target);
    const after = this.#options.after ?? (target.after === null ? 0 : Number(target.after));
    if (after !== "live" && (!Number.isSafeInteger(after) || after < 0)) return this.#fail(new TokencastError("invalid_cursor", 'after is a seq or "live"'));
    this.#cursor = after === "live" ? null : after;
    this.#ticketAsked = typeof this.#options.ticket !== "function";
    this.#unlisten = this.#environment.listen((event) => this.#page(event));
    this.#connect();
  }
  #connect() {
    if (this.outcome !== null || this.#state === "suspended") return;
    this.#cancelRetry();
    this.#cancelRace();
    if (this.#leader === null) this.#become("connecting");
    if (!this.#ticketAsked) return this.#askTicket();
    const transport = this.#options.transport ?? "auto";
    if (transport === "sse") return this.#open("sse");
    const refusal2 = transport === "auto" ? this.#gateway.refusal() : unsupported(this.#environment);
    if (transport === "webtransport") {
      if (refusal2 !== null) return this.#fail(new TokencastError("webtransport_unavailable", refusal2));
      return this.#open("webtransport");
    }
    if (refusal2 !== null) return this.#open("sse");
    this.#cancelRace = this.#environment.later(RACE_MS, () => this.#open("sse"));
    this.#open("webtransport");
  }
  #askTicket() {
    const ask = this.#options.ticket;
    this.#ticketAsked = true;
    Promise.resolve().then(ask).then(
      (ticket) => {
        this.#ticket = ticket ?? null;
        this.#connect();
      },
      (cause) => {
        this.#ticketAsked = false;
        const error = new TokencastError("ticket_unavailable", `no ticket: ${String(cause?.message ?? cause)}`, null, null, true);
        if (this.#backoff.failures + 1 >= this.#attemptsMax) this.#fail(error);
        else this.#retry(error, null);
      }
    );
  }
  get #attemptsMax() {
    return this.#options.attemptsMax ?? 6;
  }
  #open(kind) {
    if (this.outcome !== null || this.#state === "suspended") return;
    for (const lane2 of this.#lanes) if (lane2.kind === kind && !lane2.opened) return;
    const lane = new Lane(kind);
    this.#lanes.add(lane);
    const attempt = () => {
      lane.after = this.#cursor ?? "live";
      return { after: lane.after, snapshot: this.#options.snapshot === true && this.#cursor === 0, ticket: this.#ticket, heartbeatMs: this.#options.heartbeatMs ?? null };
    };
    const alive = (run) => (...args) => {
      if (this.#lanes.has(lane)) run(...args);
    };
    const sink = {
      opened: alive((open, retryMs) => this.#opened(lane, open, retryMs)),
      event: alive((event) => this.#event(lane, event)),
      silent: alive(() => this.#silent(lane)),
      rtt: alive((ms) => this.#rtt = ms),
      bye: alive((code, retryMs) => this.#bye(lane, code, retryMs)),
      closed: alive((error) => this.#closed(lane, error)),
      failed: alive((error) => this.#refused(lane, error)),
      over: alive(() => this.#finish({ reason: "over", end: null, error: null })),
      full: () => this.#full()
    };
    this.#await(lane);
    lane.connection = kind === "sse" ? openSse(this.#environment, this.#target, attempt(), sink) : this.#gateway.connect(this.#target, attempt, sink);
  }
  #await(lane) {
    lane.cancelTimer = this.#environment.later(OPEN_MS, () => {
      if (lane.kind === "sse" && this.#gateway.streaming >= QUEUEING) this.#await(lane);
      else this.#closed(lane, unreachable("no answer in time"));
    });
  }
  #opened(lane, open, retryMs) {
    const { after, tail } = open;
    if (!Number.isSafeInteger(after) || lane.after !== "live" && after !== lane.after) return this.#fault(lane, protocolError(`asked for ${lane.after}, begins at ${after}`));
    if (this.#cursor === null) this.#cursor = after;
    else if (lane.after === "live" && after !== this.#cursor) return this.#fault(lane, null);
    lane.opened = true;
    lane.cancelTimer();
    if (lane.kind === "sse") this.#gateway.streaming++;
    lane.openedAt = this.#environment.now();
    if (retryMs !== null) this.#backoff.retryMs = Math.min(Math.max(retryMs, 100), Backoff.CAP_MS);
    const old = this.#leader;
    if (old !== null && old !== lane && !old.suspect && old.kind === "webtransport" && lane.kind === "sse") return this.#close(lane);
    this.#leader = lane;
    this.#transport = lane.kind;
    this.#opens++;
    this.#tail = Math.max(this.#tail, Number(tail) || 0);
    for (const other of [...this.#lanes]) if (other !== lane && (other.opened || other.kind === "sse")) this.#close(other);
    if (lane.kind === "webtransport") this.#cancelRace();
    this.#planUpgrade();
    this.#become("open");
    this.#guard(() => this.#options.onOpen?.(open, lane.kind));
  }
  /** On SSE, though it need not be: looks again later, once. */
  #planUpgrade() {
    this.#cancelUpgrade();
    if ((this.#options.transport ?? "auto") !== "auto" || this.#leader?.kind !== "sse") return;
    const wait = this.#gateway.retryIn();
    if (wait === null) return;
    this.#cancelUpgrade = this.#environment.later(Math.max(UPGRADE_MS, wait), () => {
      if (this.#leader?.kind === "sse" && this.#gateway.refusal() === null) this.#open("webtransport");
    });
  }
  #event(lane, event) {
    if (lane !== this.#leader || this.#cursor === null) return;
    let group;
    try {
      group = lane.accept(event, this.#cursor);
    } catch (error) {
      return this.#fault(lane, error);
    }
    if (group === null) return;
    lane.progressed = true;
    lane.suspect = false;
    this.#faults = this.#handshakes = this.#ticketRefused = 0;
    this.#backoff.succeeded();
    this.#cursor = event.event === "end" ? Math.max(event.id, this.#cursor) : event.id;
    this.#lastEvent = this.#environment.now();
    this.#meter.note(this.#lastEvent, this.#cursor);
    for (const item of group) if (known(item)) this.#tell(item);
    if (event.event === "end") {
      const end = event.data;
      this.#guard(() => this.#options.onEnd?.(end));
      this.#finish({ reason: "ended", end, error: null });
    }
  }
  #tell(event) {
    if (this.outcome !== null) return;
    try {
      this.fold.push(event);
    } catch (cause) {
      return this.#fail(protocolError(`${event.event} with data that is none: ${cause.message}`));
    }
    this.#events++;
    if (this.#firstToken === null && /^(text|reasoning|refusal|tool_call|snapshot)$/.test(event.event)) this.#firstToken = this.#lastEvent - this.#began;
    for (const queue of this.#queues) queue.push(event);
    this.#guard(() => this.#options.onEvent?.(event));
    for (const painter of this.#painters) painter.touch();
  }
  #full() {
    for (const queue of this.#queues) {
      const full = queue.full();
      if (full !== null) return full;
    }
    return null;
  }
  #silent(lane) {
    if (lane !== this.#leader || lane.suspect) return;
    lane.suspect = true;
    this.#connect();
  }
  /** What it said does not fit. Another connection may; a gateway that keeps on is given up. */
  #fault(lane, error) {
    this.#close(lane);
    if (error !== null && ++this.#faults >= FAULTS_MAX) return this.#fail(error);
    if (this.#leader === null && this.#lanes.size === 0) this.#retry(error, null);
  }
  #bye(lane, code, retryMs) {
    this.#close(lane);
    if (this.#leader !== null || this.#lanes.size > 0) return;
    if (code === "ticket_expired" && this.#renew()) return this.#connect();
    this.#retry(null, retryMs > 0 ? retryMs : null);
  }
  #closed(lane, error) {
    const steady = lane.progressed || lane.opened && this.#environment.now() - lane.openedAt >= STEADY_MS;
    if (error.code === "protocol_error") return this.#fault(lane, error);
    this.#close(lane);
    if (steady) this.#backoff.succeeded();
    if (this.#leader !== null && !this.#leader.suspect) return this.#planUpgrade();
    if (lane.kind === "webtransport" && !lane.opened) {
      if (this.#options.transport !== "webtransport") {
        this.#cancelRace();
        return this.#open("sse");
      }
      if (error.code === "webtransport_unavailable") return this.#fail(error);
      if (error.code === "webtransport_failed" && ++this.#handshakes >= 2 && this.#opens === 0) return this.#fail(error);
    }
    if ([...this.#lanes].some((other) => other !== this.#leader)) return;
    const floor = error.code === "webtransport_failed" ? 2e3 : error.retryMs;
    const now = lane.kind === "webtransport" && steady ? this.#environment.random() * 100 : null;
    this.#retry(error, floor, now);
  }
  #refused(lane, error) {
    if (error.transient) return this.#closed(lane, error);
    this.#close(lane);
    const credential = error.code === "ticket_expired" || error.code === "invalid_ticket" || error.code === "unauthorized";
    if (credential && this.#ticketRefused++ === 0 && this.#renew()) {
      this.#closeLanes();
      return this.#connect();
    }
    this.#fail(error);
  }
  /** Whether there is somebody to ask for another ticket. */
  #renew() {
    if (typeof this.#options.ticket !== "function") return false;
    this.#ticketAsked = false;
    return true;
  }
  #retry(error, floor, exact = null) {
    if (this.outcome !== null || this.#state === "suspended") return;
    if (error !== null && this.#opens === 0 && this.#backoff.failures + 1 >= this.#attemptsMax) return this.#fail(error);
    const jittered = this.#backoff.next(floor);
    this.#become("waiting");
    this.#cancelRetry();
    this.#cancelRetry = this.#environment.later(exact ?? jittered, () => this.#connect());
  }
  #page(event) {
    if (this.outcome !== null) return;
    if (event === "pagehide") {
      this.#closeLanes();
      this.#cancelRetry();
      this.#become("suspended");
      return;
    }
    if (event === "hidden") return;
    if (this.#state === "suspended") {
      if (event !== "pageshow") return;
      this.#state = "connecting";
      this.#connect();
    } else if (this.#state === "waiting") this.#connect();
    else if (event === "online" || this.#leader?.kind === "webtransport") this.#leader?.connection?.probe();
  }
  #close(lane) {
    if (!this.#lanes.delete(lane)) return;
    lane.cancelTimer();
    if (lane.opened && lane.kind === "sse") this.#gateway.streaming--;
    if (this.#leader === lane) this.#leader = null;
    lane.connection?.close();
  }
  #closeLanes() {
    this.#cancelRace();
    this.#cancelUpgrade();
    for (const lane of [...this.#lanes]) this.#close(lane);
  }
  #become(state) {
    if (this.#state === state) return;
    this.#state = state;
    this.#guard(() => this.#options.onState?.(state));
    for (const painter of this.#painters) painter.touch();
  }
  #fail(error) {
    this.#finish({ reason: "failed", end: null, error });
  }
  #finish(outcome) {
    if (this.outcome !== null) return;
    this.outcome = outcome;
    this.#closeLanes();
    this.#cancelRetry();
    this.#unlisten();
    this.#become("finished");
    if (outcome.error !== null) {
      const { error } = outcome;
      this.#guard(() => this.#options.onError?.(error));
    }
    for (const queue of this.#queues) queue.end(outcome.error);
    this.#queues.clear();
    if (outcome.reason === "closed") {
      for (const painter of this.#painters) painter.stop();
      this.#painters.clear();
    }
    this.#settle(outcome);
  }
  /** What a callback throws is its own affair: reported, and not ours to stumble over. */
  #guard(run) {
    try {
      run();
    } catch (error) {
      if (typeof reportError === "function") reportError(error);
      else console.error(error);
    }
  }
};
export {
  Fold,
  Follow,
  TokencastError,
  follow
};
