// Signs a login as a browser wallet would: the message is made by viem's own EIP-4361 writer and signed by viem's own
// account. Reads {account, domain, uri, nonce, chain_id, statement} from standard input, writes {address, message,
// signature}. The accounts are the first two of the development mnemonic that every Ethereum test chain knows.
import { readFileSync } from 'node:fs';
import { privateKeyToAccount } from 'viem/accounts';
import { createSiweMessage } from 'viem/siwe';

const keys = [
  '0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80',
  '0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d',
];

const input = JSON.parse(readFileSync(0, 'utf8'));
const account = privateKeyToAccount(keys[input.account]);
const message = createSiweMessage({
  address: account.address,
  chainId: input.chain_id,
  domain: input.domain,
  uri: input.uri,
  nonce: input.nonce,
  statement: input.statement || undefined,
  version: '1',
  issuedAt: new Date(),
});
const signature = await account.signMessage({ message });
process.stdout.write(JSON.stringify({ address: account.address, message, signature }));
