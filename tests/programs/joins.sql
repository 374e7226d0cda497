-- Two tables of some 20 MiB each, joined in and out of order.
CREATE TABLE item(id INTEGER PRIMARY KEY, owner INTEGER, text TEXT);
CREATE TABLE owner(id INTEGER PRIMARY KEY, name TEXT);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 120000)
INSERT INTO item SELECT i, (i * 7919) % 20000, printf('%0100d', i * 2654435761 % 4294967296) FROM n;
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 19999)
INSERT INTO owner SELECT i, printf('owner %0200d', i * 40503 % 65536) FROM n;
CREATE INDEX item_owner ON item(owner);
SELECT count(*), sum(length(text)), max(text) FROM item;
SELECT count(*), sum(o.id), max(o.name) FROM item i JOIN owner o ON o.id = i.owner WHERE i.id % 8 = 0;
SELECT o.id, count(*), min(i.text) FROM owner o JOIN item i ON i.owner = o.id
  WHERE o.id < 1500 GROUP BY o.id HAVING o.id % 300 = 0 ORDER BY o.id;
UPDATE item SET text = text || id WHERE id % 3 = 0;
DELETE FROM item WHERE id % 11 = 0;
SELECT count(*), sum(length(text)) FROM item;
PRAGMA integrity_check;
