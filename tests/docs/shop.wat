;; Imports the interface of docs/host-functions.md, and has it do what can be told from outside: `run` returns the second
;; tag if the price of tea is 450, and a cart of two into which one of three is merged comes to 2250; otherwise it traps.
(component
  (import "acme:shop/catalog@1.0.0" (instance $catalog
    (type $problem' (enum "no-such-product" "sold-out"))
    (export "problem" (type $problem (eq $problem')))
    (type $product' (record (field "name" string) (field "price-in-cents" u32)))
    (export "product" (type $product (eq $product')))
    (export "cart" (type $cart (sub resource)))
    (export "find" (func (param "id" string) (result (result $product (error $problem)))))
    (export "tags" (func (result (list string))))
    (export "[constructor]cart" (func (param "currency" string) (result (own $cart))))
    (export "[method]cart.add"
      (func (param "self" (borrow $cart)) (param "product-id" string) (param "count" u32)
        (result (result (error $problem)))))
    (export "[method]cart.total" (func (param "self" (borrow $cart)) (result u64)))
    (export "[static]cart.merge"
      (func (param "into" (own $cart)) (param "other" (borrow $cart)) (result (own $cart))))))
  (alias export $catalog "cart" (type $cart))

  (core module $Memory
    (memory (export "memory") 1)
    (global $heap (mut i32) (i32.const 1024))
    (data (i32.const 64) "EURteacoffee")
    (func (export "realloc") (param $old i32) (param $old-size i32) (param $align i32) (param $size i32) (result i32)
      (local $at i32)
      (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
      (global.set $heap (i32.add (local.get $at) (local.get $size)))
      (local.get $at)))
  (core instance $memory (instantiate $Memory))
  (alias core export $memory "memory" (core memory $mem))
  (alias core export $memory "realloc" (core func $realloc))

  (core func $find (canon lower (func $catalog "find") (memory $mem) (realloc $realloc)))
  (core func $tags (canon lower (func $catalog "tags") (memory $mem) (realloc $realloc)))
  (core func $new (canon lower (func $catalog "[constructor]cart") (memory $mem)))
  (core func $add (canon lower (func $catalog "[method]cart.add") (memory $mem)))
  (core func $total (canon lower (func $catalog "[method]cart.total")))
  (core func $merge (canon lower (func $catalog "[static]cart.merge")))
  (core func $drop (canon resource.drop $cart))

  (core module $Main
    (import "memory" "memory" (memory 1))
    (import "shop" "find" (func $find (param i32 i32 i32)))
    (import "shop" "tags" (func $tags (param i32)))
    (import "shop" "new" (func $new (param i32 i32) (result i32)))
    (import "shop" "add" (func $add (param i32 i32 i32 i32 i32)))
    (import "shop" "total" (func $total (param i32) (result i64)))
    (import "shop" "merge" (func $merge (param i32 i32) (result i32)))
    (import "shop" "drop" (func $drop (param i32)))

    (func $must (param $holds i32) (if (i32.eqz (local.get $holds)) (then unreachable)))

    ;; a cart with so much tea in it
    (func $cart (param $count i32) (result i32)
      (local $cart i32)
      (local.set $cart (call $new (i32.const 64) (i32.const 3)))
      (call $add (local.get $cart) (i32.const 67) (i32.const 3) (local.get $count) (i32.const 0))
      (call $must (i32.eqz (i32.load8_u (i32.const 0))))
      (local.get $cart))

    (func (export "run") (result i32)
      (local $one i32) (local $other i32)
      (call $find (i32.const 67) (i32.const 3) (i32.const 0))
      (call $must (i32.eqz (i32.load8_u (i32.const 0))))
      (call $must (i32.eq (i32.load (i32.const 12)) (i32.const 450)))
      ;; error(no-such-product)
      (call $find (i32.const 70) (i32.const 6) (i32.const 0))
      (call $must (i32.load8_u (i32.const 0)))
      (call $must (i32.eqz (i32.load8_u (i32.const 4))))
      (local.set $one (call $cart (i32.const 2)))
      (call $add (local.get $one) (i32.const 70) (i32.const 6) (i32.const 1) (i32.const 0))
      (call $must (i32.load8_u (i32.const 0)))
      (local.set $other (call $cart (i32.const 3)))
      (local.set $one (call $merge (local.get $one) (local.get $other)))
      (call $must (i64.eq (call $total (local.get $one)) (i64.const 2250)))
      (call $drop (local.get $one))
      (call $drop (local.get $other))
      (call $tags (i32.const 0))
      (i32.add (i32.load (i32.const 0)) (i32.const 8))))
  (core instance $main (instantiate $Main
    (with "memory" (instance $memory))
    (with "shop" (instance
      (export "find" (func $find))
      (export "tags" (func $tags))
      (export "new" (func $new))
      (export "add" (func $add))
      (export "total" (func $total))
      (export "merge" (func $merge))
      (export "drop" (func $drop))))))

  (func $run (result string) (canon lift (core func $main "run") (memory $mem)))
  (export "run" (func $run))
)
