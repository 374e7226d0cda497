-- Orders (as many as the table size says) and their customers, made by a formula; joined by way
-- of an index. The notes are digits without a pattern: what compresses is their being digits.
CREATE TABLE customer(id INTEGER PRIMARY KEY, name TEXT, region INTEGER);
CREATE TABLE bought(id INTEGER PRIMARY KEY, customer INTEGER, cents INTEGER, note TEXT);
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 199999)
INSERT INTO customer SELECT i, printf('%016x%016x', i * 2654435761 * 40503, i * 1640531527 * 7919),
  i * 40503 % 25 FROM n;
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n, size WHERE i < orders - 1)
INSERT INTO bought SELECT i, i * 7919 % 200000, i * 104729 % 10007,
  printf('%016x%016x%016x%016x%016x', i * 2654435761 * 911, i * 1640531527 * 1009,
         i * 2246822519 * 1201, i * 3266489917 * 1301, i * 668265263 * 1511) FROM n;
CREATE INDEX of_customer ON bought(customer);
SELECT json_array(sum(orders), sum(cents * (region + 1)), group_concat(least), max(most)) FROM
  (SELECT region, count(*) AS orders, sum(cents) AS cents, substr(min(note), 1, 16) AS least,
     max(name || note) AS most
   FROM customer JOIN bought ON bought.customer = customer.id
   WHERE customer.id % 3 = 0 GROUP BY region ORDER BY region);
