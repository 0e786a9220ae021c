// A relay on Node's ws and Fastify, in the shape of Twilio's Node sample for the Realtime API: what ours is measured
// against. Run: node relay.js --port 5050 --upstream ws://127.0.0.1:8080/v1/realtime
//
// Both sockets are ws, without its optional native parts, which the sample does not install either; every message is
// parsed and written with JSON. On the wire it does as the sample does, with the names of the API as it is now: the
// settings of the sample's session, an append for a frame, a media message and a mark of one name for every delta, and
// at speech_started, while marks are out, a truncate at the time since the item's first delta, then a clear.
//
// It does less than ours, to its advantage: payloads pass through without being decoded, what the caller says before
// the session is open is dropped instead of held, gaps are not filled, deltas are not cut to whole frames, and nothing
// is validated, counted, bounded or, unlike in the sample, logged. It does more, to its disadvantage: a mark for every
// delta where ours marks every 200 ms; for the 20 ms deltas of an echo that is ten times as many, for the longer ones
// of a real answer about as many. Beyond the sample, and outside of what is measured: it configures the session at once
// instead of after 100 ms, closes at `stop` instead of waiting for Twilio to, and closes one socket when the other is
// gone.

import fastifyWebsocket from '@fastify/websocket';
import Fastify from 'fastify';
import { parseArgs } from 'node:util';
import WebSocket from 'ws';

const MARK = 'responsePart';
const PCMU = { type: 'audio/pcmu' };
const SESSION = {
  type: 'realtime',
  output_modalities: ['audio'],
  instructions: 'You are a friendly assistant on the telephone. Answer in one or two short sentences.',
  audio: {
    input: { format: PCMU, turn_detection: { type: 'server_vad' } },
    output: { format: PCMU, voice: 'marin' },
  },
};

function carry(twilio, upstreamUrl) {
  const openai = new WebSocket(upstreamUrl);
  let streamSid = null;
  let timestampMs = 0; // of the caller's latest frame
  let itemId = null; // which the caller is hearing
  let itemBeganMs = null; // at which timestamp
  let marks = []; // sent, not come back

  const toTwilio = (message) => twilio.send(JSON.stringify(message));
  const toOpenAi = (event) => openai.send(JSON.stringify(event));

  const play = (event) => {
    toTwilio({ event: 'media', streamSid, media: { payload: event.delta } });
    itemBeganMs ??= timestampMs;
    itemId = event.item_id;
    toTwilio({ event: 'mark', streamSid, mark: { name: MARK } });
    marks.push(MARK);
  };

  const bargeIn = () => {
    if (marks.length === 0 || itemBeganMs === null) {
      return;
    }
    toOpenAi({
      type: 'conversation.item.truncate',
      item_id: itemId,
      content_index: 0,
      audio_end_ms: timestampMs - itemBeganMs,
    });
    toTwilio({ event: 'clear', streamSid });
    marks = [];
    itemId = itemBeganMs = null;
  };

  openai.on('open', () => toOpenAi({ type: 'session.update', session: SESSION }));
  openai.on('message', (raw) => {
    const event = JSON.parse(raw);
    if (event.type === 'response.output_audio.delta' && event.delta) {
      play(event);
    } else if (event.type === 'input_audio_buffer.speech_started') {
      bargeIn();
    }
  });
  openai.on('error', (error) => console.error('openai:', error.message));
  openai.on('close', () => twilio.close());

  twilio.on('message', (raw) => {
    const message = JSON.parse(raw);
    switch (message.event) {
      case 'media':
        timestampMs = Number(message.media.timestamp);
        if (openai.readyState === WebSocket.OPEN) {
          toOpenAi({ type: 'input_audio_buffer.append', audio: message.media.payload });
        }
        break;
      case 'mark':
        marks.shift();
        break;
      case 'start':
        streamSid = message.start.streamSid;
        break;
      case 'stop':
        twilio.close();
        break;
    }
  });
  twilio.on('error', (error) => console.error('twilio:', error.message));
  twilio.on('close', () => openai.close());
}

const { values } = parseArgs({ options: { port: { type: 'string' }, upstream: { type: 'string' } } });
const fastify = Fastify();
await fastify.register(fastifyWebsocket);
fastify.get('/media-stream', { websocket: true }, (twilio) => carry(twilio, values.upstream));
await fastify.listen({ host: '127.0.0.1', port: Number(values.port) });
