UPDATE bucket_action SET returned_amount = NULL WHERE closed_cause = 'EXPIRE';
