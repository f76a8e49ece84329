-- The only clock that counts.
SELECT now() AS now
