// Signs a NEAR login as a wallet would: near-api-js's own signer writes and signs the NEP-413 message. Reads {account,
// message, nonce, recipient, callback_url} from standard input, writes {public_key, signature}. The key is a published
// test key.
import { readFileSync } from 'node:fs';
import { KeyPair, KeyPairSigner } from 'near-api-js';

const secretKey = 'ed25519:25UigmdKqMgiYqiawq1Vr1UvyQ456EFTABeCgKFnMfWdb2CpKudJ5hgQ3zozYnhdzFpfkRW1xY7sJNRaTmjwJXcL';

const input = JSON.parse(readFileSync(0, 'utf8'));
const signer = new KeyPairSigner(KeyPair.fromString(secretKey));
const { signature } = await signer.signNep413Message(input.account, {
  message: input.message,
  nonce: Buffer.from(input.nonce, 'base64'),
  recipient: input.recipient,
  callbackUrl: input.callback_url || undefined,
});
const publicKey = await signer.getPublicKey();
process.stdout.write(
  JSON.stringify({ public_key: publicKey.toString(), signature: Buffer.from(signature).toString('base64') }),
);
