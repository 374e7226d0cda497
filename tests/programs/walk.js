// SPDX-License-Identifier: Apache-2.0
// walk.js MIB: objects, strings and typed arrays; walked, half thrown away, walked again.
'use strict';
const mib = Number(process.argv[2]);
let state = 12345;

function random() {
  state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
  return state;
}

function walk(groups) {
  let sum = 0;
  for (const group of groups) {
    for (const o of group) {
      sum = (sum * 31 + o.key + o.text.length + o.bytes[o.bytes.length >> 1]) % 1000000007;
    }
  }
  return sum;
}

const groups = [];
for (let i = 0; i < mib; i++) {
  const group = [];
  for (let k = 0; k < 2500; k++) {
    const key = random();
    group.push({ key, text: 'k' + key, bytes: new Array(16).fill(key % 256) });
  }
  groups.push(group);
}
const big = new Float64Array((mib << 20) / 16);
for (let i = 0; i < big.length; i++) big[i] = i * 0.5;
console.log('built', groups.length, walk(groups));
for (let i = 0; i < groups.length; i += 2) groups[i] = groups[i].slice(0, 1000);
console.log('walked', walk(groups), big.reduce((a, b) => a + b, 0));
