  ;; wasi:io: pollables and byte streams.
  (import "wasi:io/poll@0.2.0" (instance $poll
    (export "pollable" (type $pollable (sub resource)))
    (export "[method]pollable.ready" (func (param "self" (borrow $pollable)) (result bool)))
    (export "[method]pollable.block" (func (param "self" (borrow $pollable))))
    (export "poll" (func (param "in" (list (borrow $pollable))) (result (list u32))))))
  (alias export $poll "pollable" (type $pollable))

  (import "wasi:io/error@0.2.0" (instance $error
    (export "error" (type (sub resource)))))
  (alias export $error "error" (type $io-error))

  (import "wasi:io/streams@0.2.0" (instance $streams
    (alias outer 1 $pollable (type $pollable'))
    (export "pollable" (type $pollable (eq $pollable')))
    (alias outer 1 $io-error (type $error'))
    (export "error" (type $error (eq $error')))
    (type $stream-error' (variant (case "last-operation-failed" (own $error)) (case "closed")))
    (export "stream-error" (type $stream-error (eq $stream-error')))
    (export "input-stream" (type $input-stream (sub resource)))
    (export "output-stream" (type $output-stream (sub resource)))
    (type $bytes (result (list u8) (error $stream-error)))
    (type $count (result u64 (error $stream-error)))
    (type $done (result (error $stream-error)))
    (type $in (borrow $input-stream))
    (type $out (borrow $output-stream))
    (export "[method]input-stream.read" (func (param "self" $in) (param "len" u64) (result $bytes)))
    (export "[method]input-stream.blocking-read" (func (param "self" $in) (param "len" u64) (result $bytes)))
    (export "[method]input-stream.subscribe" (func (param "self" $in) (result (own $pollable))))
    (export "[method]output-stream.check-write" (func (param "self" $out) (result $count)))
    (export "[method]output-stream.write" (func (param "self" $out) (param "contents" (list u8)) (result $done)))
    (export "[method]output-stream.blocking-write-and-flush"
      (func (param "self" $out) (param "contents" (list u8)) (result $done)))
    (export "[method]output-stream.blocking-flush" (func (param "self" $out) (result $done)))
    (export "[method]output-stream.subscribe" (func (param "self" $out) (result (own $pollable))))
    (export "[method]output-stream.blocking-splice"
      (func (param "self" $out) (param "src" $in) (param "len" u64) (result $count)))))
  (alias export $streams "input-stream" (type $input-stream))
  (alias export $streams "output-stream" (type $output-stream))
