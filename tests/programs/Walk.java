// SPDX-License-Identifier: Apache-2.0
/** Walk MIB: a heap of small objects in chains, walked, half thrown away, walked again. */
public class Walk {
    static final class Node {
        final long key;
        final byte[] text;
        Node next;

        Node(long key, Node next) {
            this.key = key;
            this.next = next;
            text = new byte[64 + (int) (key & 127)];
            java.util.Arrays.fill(text, (byte) key);
        }
    }

    static long state = 88172645463325252L;

    static long random() {
        state ^= state << 13;
        state ^= state >>> 7;
        state ^= state << 17;
        return state;
    }

    static long walk(Node[] heads) {
        long sum = 0;
        for (Node head : heads) {
            for (Node n = head; n != null; n = n.next) {
                sum = sum * 31 + n.key + n.text[n.text.length / 2];
            }
        }
        return sum;
    }

    public static void main(String[] args) throws InterruptedException {
        int nodes = (Integer.parseInt(args[0]) << 20) / 192;
        Node[] heads = new Node[4096];

        for (int i = 0; i < nodes; i++) {
            int at = (int) ((long) i * heads.length / nodes);
            heads[at] = new Node(random(), heads[at]);
        }
        System.out.println("built " + nodes + " " + walk(heads));
        for (int i = 0; i < heads.length; i += 2) {
            heads[i] = null;
        }
        System.gc();
        for (int i = 0; i < nodes / 4; i++) {
            int at = (int) ((long) i * 4 * heads.length / nodes) & ~1;
            heads[at] = new Node(random(), heads[at]);
        }
        long[] sums = new long[2];
        Thread[] threads = new Thread[2];
        for (int t = 0; t < 2; t++) {
            final int id = t;
            threads[t] = new Thread(() -> sums[id] = walk(heads));
            threads[t].start();
        }
        for (Thread t : threads) {
            t.join();
        }
        System.out.println("walked " + sums[0] + " " + (sums[0] == sums[1]));
    }
}
