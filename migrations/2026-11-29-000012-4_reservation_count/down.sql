DROP TRIGGER entry_count_reservations ON entry;
DROP FUNCTION count_reservations();
DROP FUNCTION reservation_change(entry);
ALTER TABLE entry DROP COLUMN reservation_count;
ALTER TABLE account DROP COLUMN reservation_count;
