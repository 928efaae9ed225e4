/**
 * One stream for all windows. Browsers open six connections to a server, for all windows together: the
 * window that holds a lock reads the stream, and tells the others.
 */

/** `read(tell)` where this is the window that reads; `told` gets what is told in any, until `signal`. */
export async function shared(topic, signal, read, told) {
  const channel = new BroadcastChannel(topic);
  let latest = null; // where this window reads
  const tell = (piece) => {
    latest = { piece };
    channel.postMessage(latest);
    told(piece);
  };
  channel.onmessage = ({ data }) => {
    if (!data.isAsking) told(data.piece);
    else if (latest) channel.postMessage(latest);
  };
  channel.postMessage({ isAsking: true });
  try {
    await navigator.locks.request(topic, { signal }, () => read(tell));
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    channel.close();
  }
}
